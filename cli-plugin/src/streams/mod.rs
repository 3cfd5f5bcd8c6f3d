//! What the small host does itself, on the published client crate: topics, partitions, records, profiles.

pub mod consume;
pub mod consumers;
pub mod objects;
pub mod partition;
pub mod produce;
pub mod profiles;
mod routes;
pub mod spu;
pub mod target;
pub mod topic;
