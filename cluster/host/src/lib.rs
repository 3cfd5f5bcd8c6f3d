//! What whoever runs a cluster's servers as processes of a host needs, the provisioner and `fluvio cluster` alike: the
//! configuration file of each, and a way to know its process again.

mod file;
mod known;

pub use file::{ScPart, ServerFile, SpuPart};
pub use known::{Known, is_dead, start_time};
