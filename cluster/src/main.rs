//! The Fluvio cluster itself: the streaming controller (SC) and the stream processing units (SPU).

fn main() {}
