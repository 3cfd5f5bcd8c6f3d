//! From accept to a server name: the client's hello, read by rustls and kept byte by byte.
//!
//! **What counts as a name.** The name is what rustls takes from the hello's server name extension: a valid
//! DNS name in lower case, since DNS names do not differ by case. Nothing else is folded: a trailing dot
//! stays, and as no route carries one (RFC 6066 forbids it in a hello) such a name is simply unknown. IP
//! literals, empty names, NUL, names over 253 bytes and two names in one hello are no names.
//!
//! **Behind a load balancer.** Who comes from a declared network must first say for whom, see [`read_proxied`];
//! from everyone else those bytes are no hello.
//!
//! **What a refused client sees.** Always the same seven bytes and the end of the stream, see [`refuse`].

mod name;
mod proxied;
mod read;
pub mod refuse;

pub use name::{HelloReader, MAX_HELLO, Progress};
pub use proxied::read_proxied;
pub use read::{Hello, HelloError, read_hello};
