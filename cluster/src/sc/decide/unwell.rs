//! Copies whose disks failed, as their SPUs say.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::link::{PartitionKey, ReplicaReport, ReplicaState};
use crate::sc::metadata::Metadata;

/// Copies that take nothing, and partitions whose leader leads them in a later epoch only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwell {
    failed: BTreeSet<(Uuid, u32, i32)>,
    without_lead: BTreeSet<(Uuid, u32)>,
}

impl Unwell {
    /// What the last report of each copy says. One that is of an epoch before may still tell of a broken disk, but not of
    /// who leads now.
    pub fn of(metadata: &Metadata, reports: &BTreeMap<(PartitionKey, i32), ReplicaReport>) -> Self {
        let mut unwell = Self::default();
        for ((key, spu), report) in reports {
            if report.state == ReplicaState::Failed {
                unwell.failed.insert((report.topic_id, key.partition, *spu));
            }
            let topic = metadata.topics.get(&key.topic).filter(|topic| topic.id == report.topic_id);
            let placed = topic.and_then(|topic| topic.partitions.get(&key.partition));
            let now = placed.is_some_and(|placed| (placed.leader, placed.epoch) == (*spu, report.epoch));
            if report.lost_lead && now {
                unwell.without_lead.insert((report.topic_id, key.partition));
            }
        }
        unwell
    }

    /// Whether this copy takes records, as far as is known.
    pub fn takes(&self, topic: Uuid, index: u32, spu: i32) -> bool {
        !self.failed.contains(&(topic, index, spu))
    }

    /// Whether the partition needs a new epoch to be led at all.
    pub fn waits(&self, topic: Uuid, index: u32) -> bool {
        self.without_lead.contains(&(topic, index))
    }
}
