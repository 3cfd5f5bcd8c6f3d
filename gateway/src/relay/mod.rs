//! Bytes between a client and its cluster's server.
//!
//! The server first gets a PROXY protocol header with the client's address and the client's bytes that were
//! read for the hello, then everything else as it comes, and the other way round. Nothing is held back:
//! what was read is written before more is read, so a slow reader slows the writer and costs one buffer.

mod answer;
mod buffers;
mod connect;
mod proxy_header;
mod pump;
mod session;
mod socket;

pub use answer::{Answered, answered};
pub use buffers::{BufferPool, LARGE, SMALL};
pub use connect::{BackendStream, ConnectError, ServerPatience, connect};
pub use proxy_header::{SIGNATURE, proxy_header};
pub use session::{Ended, Patience, relay};
pub use socket::{Socket, prepare_client, prepare_server};
