//! What the SC decides, as pure functions: metadata and world in, metadata or refusal out.

mod adopt;
mod place;
mod provision;
mod topics;

pub use adopt::adopt;
pub use place::place;
pub use provision::{confirm_retired, ensure_consumer_offsets, provision};
pub use topics::{NewTopic, add_partitions, create_topic, delete_topic};

/// What the decisions depend on besides the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The cluster's SPUs, by id, and whether each is there now.
    pub spus: Vec<(i32, bool)>,
    /// Most partitions over all topics.
    pub partitions_limit: u32,
}

impl World {
    /// SPUs that are there now.
    pub fn online(&self) -> Vec<i32> {
        self.spus.iter().filter(|(_, online)| *online).map(|(id, _)| *id).collect()
    }

    /// Whether the cluster has this SPU, there or not.
    pub fn knows(&self, spu: i32) -> bool {
        self.spus.iter().any(|(id, _)| *id == spu)
    }
}

#[cfg(test)]
mod tests;
