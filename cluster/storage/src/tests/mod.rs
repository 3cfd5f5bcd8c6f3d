//! Tests of the whole engine.

mod basics;
mod sample;
