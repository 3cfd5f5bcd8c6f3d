//! Client connections: listeners, the way in, and the loop that SC and SPU share.
//!
//! A connection comes in through a [`Listener`] (with a PROXY header where a gateway stands before it), does
//! its TLS handshake under the name of the server it asked for, proves a principal, and then has its requests
//! read one by one and handed to a [`Service`]. The service answers at once or returns a future; those
//! futures run side by side, each first polled in the order of arrival.

mod accept;
mod limit;
mod listen;
mod outbox;
mod pace;
mod proxy;
mod requests;
mod session;
mod transport;

pub use accept::{Server, Timing, serve};
pub use limit::ConnectionLimit;
pub use listen::{ListenAddress, ListenError, Listener};
pub use outbox::{Closed, Outbox, Room};
pub use requests::{Close, MAX_STREAMS, Service, Work};
pub use session::Session;

#[cfg(test)]
pub(crate) mod tests;
