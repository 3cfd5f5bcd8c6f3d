//! TLS for clients: mutual, with the cluster's own client CA as the only root.
//!
//! TLS 1.2 and 1.3, no early data (a replayed produce would store records twice). SC and SPU keep separate
//! tickets, so a session of one does not open the other.

mod names;
mod server;

pub use names::ServerName;
pub use server::{ServerTls, TlsError};
