//! Connections that no client sees: SPUs to their SC, and whoever runs the cluster to both.
//!
//! On one host they are Unix sockets for root and the process's own user. Between hosts they are TCP with
//! mutual TLS: both sides have a certificate of the cluster's own internal CA in the cluster's internal name,
//! and nothing else is trusted. Above [`Stream`] nobody knows the difference.

mod address;
mod dial;
mod identity;
mod listen;
mod private;
mod stream;

pub use address::{Address, AddressError};
pub use dial::Dialler;
pub use identity::{Identity, IdentityError, IdentityFiles};
pub use listen::Listener;
pub use private::BindError;
pub use stream::Stream;

#[cfg(test)]
mod tests;
