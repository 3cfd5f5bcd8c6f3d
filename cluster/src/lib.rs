//! The Fluvio cluster itself: the streaming controller (SC), which knows the topics and decides where their
//! partitions live, and the stream processing units (SPUs), which keep the partitions. The binary runs one of
//! them, or both as one `node`.

pub mod access;
pub mod config;
pub mod connection;
pub mod control;
pub mod internal;
pub mod link;
pub mod node;
pub mod peer;
pub mod sc;
pub mod spu;
pub mod tls;
pub mod usage;
pub mod wire;
