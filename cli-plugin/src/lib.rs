//! Two programs for a person at a terminal: the `fluvio cloud` plugin, and a small `fluvio` that hosts it on machines
//! without upstream's own.
//!
//! Data goes to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong use.

pub mod cloud;
pub mod failure;
pub mod host;
pub mod local;
pub mod output;
pub mod places;
pub mod profile;
pub mod streams;
