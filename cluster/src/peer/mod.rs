//! SPU to SPU: copies follow their leaders, and what a client asked the wrong SPU goes to the right one.
//!
//! HTTP/2 over an internal connection, which brings streams side by side, flow control for each and an end for
//! each: `POST /` with parcels in both directions (see [`parcel`]). The first one is an [`Ask`]; a follower sends
//! [`Ack`]s behind it.

mod client;
mod message;
mod parcel;
mod serve;

pub use client::{PeerError, Peers, Replies};
pub use message::{Ack, Answer, Ask, Copied, Fed, Follow, Placed, Read, Refused};
pub use parcel::{Parcel, ParcelError, Parcels, encode, parts};
pub use serve::{Answers, Reply, only, serve};

#[cfg(test)]
mod tests;
