//! Tests of the whole engine.

mod basics;
mod concurrency;
mod copies;
mod crashes;
mod damage;
mod documents;
mod faults;
mod mutations;
mod parser;
mod retention;
mod rot;
mod sample;
mod world;
