//! fluvio
fn main() {}
