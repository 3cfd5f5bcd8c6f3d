//! A load generator that costs little: it speaks Fluvio's wire by hand, so what is measured beside it is the server.
//! Requests are made once and sent many times; what comes back is counted and its offsets compared, not decoded.
//!
//! - [`link`]: one connection to an SPU, of a thread's own;
//! - [`batches`]: produce requests, made before the clock runs;
//! - [`produce`]: many requests under way, or one at a time;
//! - [`slice`]: what a consumer's stream sends, and how much of it is looked at;
//! - [`consume`]: a partition read to its end;
//! - [`crowd`]: thousands of consumers, a task each.

pub mod batches;
pub mod consume;
pub mod crowd;
pub mod link;
pub mod produce;
pub mod slice;
