//! The profile file every Fluvio client reads: which clusters there are, and which one is current.

mod file;
mod names;

pub use file::{lock, read, update, write_private};
pub use names::{CloudCluster, ProfileError, Profiles, Summary};
