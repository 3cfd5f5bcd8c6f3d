//! Tests of the whole engine.

mod basics;
mod concurrency;
mod crashes;
mod damage;
mod documents;
mod faults;
mod parser;
mod retention;
mod sample;
mod world;
