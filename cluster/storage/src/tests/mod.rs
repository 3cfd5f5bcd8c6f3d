//! Tests of the whole engine.

mod basics;
mod crashes;
mod damage;
mod faults;
mod sample;
mod world;
