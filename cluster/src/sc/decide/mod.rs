//! What the SC decides, as pure functions: metadata and world in, metadata or refusal out.

use std::collections::{BTreeMap, BTreeSet};

mod adopt;
mod elect;
mod leaderless;
mod leave;
mod moves;
mod place;
mod provision;
mod topics;
mod unwell;

pub use adopt::{adopt, fenced};
pub use elect::{Came, InSyncAsked, InSyncRefused, came_back, change_in_sync, elect};
pub use leaderless::{Heard, heard_at_last, heard_enough, lead_again, learnt_late, without_leaders};
pub use leave::{StillHolds, replicas, without};
pub use moves::move_copies;
pub use place::place;
pub use provision::{confirm_retired, ensure_consumer_offsets, provision};
pub use topics::{NewTopic, add_partitions, create_topic, delete_topic};
pub use unwell::Unwell;

/// What the decisions depend on besides the metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// The cluster's SPUs, by id, and whether each is there now.
    pub spus: Vec<(i32, bool)>,
    /// The failure domains of those that are in one.
    pub racks: BTreeMap<i32, String>,
    /// SPUs that are surely away: they were there, or have had time enough to come.
    pub gone: BTreeSet<i32>,
    /// Those of them that nobody waits for any more.
    pub lost: BTreeSet<i32>,
    /// Those of them that get nothing new.
    pub leaving: BTreeSet<i32>,
    /// Whether no SPU has come or gone for a while: time to put in order what can wait.
    pub calm: bool,
    /// Whether an SPU is there that is too old to know of copies that move.
    pub fixed: bool,
    /// Copies that cannot do what they should.
    pub unwell: Unwell,
    /// Most partitions over all topics.
    pub partitions_limit: u32,
}

impl World {
    /// SPUs that are to stay.
    pub fn staying(&self) -> impl Iterator<Item = (i32, bool)> {
        self.spus.iter().copied().filter(|(id, _)| !self.leaving.contains(id))
    }

    /// SPUs that can be given something now.
    pub fn open(&self) -> impl Iterator<Item = i32> {
        self.staying().filter(|(_, online)| *online).map(|(id, _)| id)
    }

    /// Whether this SPU is there now.
    pub fn online(&self, spu: i32) -> bool {
        self.spus.contains(&(spu, true))
    }

    /// Whether the first of those that are to stay is there.
    pub fn first_is_there(&self) -> bool {
        self.staying().min().is_some_and(|(_, online)| online)
    }

    /// Whether the cluster has this SPU, there or not.
    pub fn knows(&self, spu: i32) -> bool {
        self.spus.iter().any(|(id, _)| *id == spu)
    }
}

#[cfg(test)]
mod tests;
