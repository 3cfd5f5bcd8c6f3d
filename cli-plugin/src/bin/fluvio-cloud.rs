//! fluvio-cloud
fn main() {}
