//! The SC: its metadata, who it believes to be there, and the real decisions.

use std::collections::{BTreeMap, BTreeSet};

use cluster_settings::Durability;
use uuid::Uuid;

use crate::link::{Assignment, assignments};
use crate::sc::decide::{CameAnew, InSyncAsked, World as Facts, came_anew, change_in_sync, elect};
use crate::sc::metadata::{Metadata, Placement, Standing, Topic};
use crate::sc::topic::{Replicas, TopicOptions, TopicSpec};

const TOPIC: Uuid = Uuid::from_u128(7);

#[derive(Debug)]
pub(super) struct Sc {
    pub(super) metadata: Metadata,
    online: BTreeMap<i32, u64>,
    gone: BTreeSet<i32>,
}

impl Sc {
    pub(super) fn new() -> Self {
        let replicas = Replicas::Computed { partitions: 1, replication_factor: 3, ignore_rack: false };
        let spec = TopicSpec { replicas, options: TopicOptions::default() };
        let placed = Placement::new(1, vec![1, 2, 3]);
        let topic =
            Topic { id: TOPIC, spec, standing: Standing::Provisioned, partitions: [(0, placed)].into() };
        let metadata = Metadata::default().with_topic("t", topic);
        Self { metadata, online: BTreeMap::new(), gone: BTreeSet::new() }
    }

    /// Whether an SPU is registered on this link.
    pub(super) fn knows(&self, link: u64) -> bool {
        self.online.values().any(|known| *known == link)
    }

    pub(super) fn placed(&self) -> &Placement {
        &self.metadata.topics["t"].partitions[&0]
    }

    pub(super) fn word_for(&self, spu: i32) -> Assignment {
        assignments(spu, &self.metadata).into_values().next().unwrap()
    }

    /// An SPU came on this link; with a new process, whether it found the partition on its disk.
    pub(super) fn came(&mut self, spu: i32, link: u64, found: Option<bool>) {
        if let Some(found) = found {
            let holds = found.then_some((TOPIC, 0)).into_iter().collect();
            let came = CameAnew { spu, holds: &holds, durability: Durability::Disk };
            if let Some(next) = came_anew(&self.metadata, &self.facts(), &came) {
                self.metadata = next;
            }
        }
        self.online.insert(spu, link);
        self.gone.remove(&spu);
        self.settle();
    }

    /// A link ended; a newer one of the same SPU may have come before.
    pub(super) fn went(&mut self, spu: i32, link: u64) {
        if self.online.get(&spu) == Some(&link) {
            self.online.remove(&spu);
            self.gone.insert(spu);
            self.settle();
        }
    }

    pub(super) fn asked(&mut self, spu: i32, asked: &InSyncAsked) {
        if let Ok(next) = change_in_sync(&self.metadata, &self.facts(), spu, asked) {
            self.metadata = next;
        }
    }

    fn settle(&mut self) {
        if let Some(next) = elect(&self.metadata, &self.facts()) {
            self.metadata = next;
        }
    }

    fn facts(&self) -> Facts {
        let spus = (1..=3).map(|spu| (spu, self.online.contains_key(&spu))).collect();
        Facts { spus, gone: self.gone.clone(), partitions_limit: 10, ..Facts::default() }
    }
}
