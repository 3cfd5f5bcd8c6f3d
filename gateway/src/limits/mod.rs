//! How often and how many: rates, client addresses and networks, half-open connections, sockets.
//!
//! Every map here has a bound, and at its bound the newest honest client still has a way in: half-open
//! connections give way oldest first, and addresses beyond the map's room share one entry.

mod addresses;
mod capacity;
mod half_open;
mod rate;

pub use addresses::{AddressKey, AddressLimits, AddressPermit, AddressRefused, Addresses};
pub use capacity::{Capacity, Place, raise_open_file_limit};
pub use half_open::{HalfOpen, HalfOpenPlace};
pub use rate::{Rate, RateBucket};
