//! Turns wanted clusters into running ones and reports what is.

fn main() {}
