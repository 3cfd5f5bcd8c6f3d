//! The SC: its metadata, who it believes to be there, and the real decisions.

use std::collections::{BTreeMap, BTreeSet};

use cluster_settings::Durability;
use uuid::Uuid;

use crate::link::{Assignment, PartitionKey, ReplicaReport, assignments};
use crate::sc::decide::{
    Came, Heard, InSyncAsked, World as Facts, adopt, came_back, change_in_sync, elect, fenced, heard_at_last,
    heard_enough, lead_again, learnt_late, move_copies, without_leaders,
};
use crate::sc::metadata::{Metadata, Placement, Standing, Topic};
use crate::sc::topic::{Replicas, TopicOptions, TopicSpec};

pub(super) const TOPIC: Uuid = Uuid::from_u128(7);
/// One more than there are copies.
pub(super) const SPUS: std::ops::RangeInclusive<i32> = 1..=4;

/// More elections than anybody can have missed.
const UNHEARD_EPOCHS: u32 = 1 << 16;

/// What an SPU says when it comes.
pub(super) struct Hello {
    /// Whether its process is a new one.
    pub(super) fresh: bool,
    /// What it found on its disk.
    pub(super) held: Option<Assignment>,
}

/// What the SC tells an SPU.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) assignment: Option<Assignment>,
    pub(super) dropped: bool,
}

#[derive(Debug, Default)]
pub(super) struct Sc {
    pub(super) metadata: Metadata,
    /// Whether it knows what there is. One without a disk gathers that first, from all SPUs or from enough of them.
    open: bool,
    reports: BTreeMap<(PartitionKey, i32), ReplicaReport>,
    gathered: BTreeMap<i32, (bool, bool)>,
    came: BTreeSet<i32>,
    online: BTreeMap<i32, u64>,
    last_links: BTreeMap<i32, u64>,
    gone: BTreeSet<i32>,
    lost: BTreeSet<i32>,
    pub(super) leaving: Option<i32>,
    calm: bool,
}

impl Sc {
    pub(super) fn new() -> Self {
        let replicas = Replicas::Computed { partitions: 1, replication_factor: 3, ignore_rack: false };
        let spec = TopicSpec { replicas, options: TopicOptions::default() };
        let placed = Placement::new(1, vec![1, 2, 3]);
        let topic =
            Topic { id: TOPIC, spec, standing: Standing::Provisioned, partitions: [(0, placed)].into() };
        Self { metadata: Metadata::default().with_topic("t", topic), open: true, ..Self::default() }
    }

    pub(super) fn lose_disk(&mut self) {
        *self = Self { leaving: self.leaving, ..Self::default() };
    }

    /// Whether an SPU is registered on this link.
    pub(super) fn knows(&self, link: u64) -> bool {
        self.online.values().any(|known| *known == link)
    }

    pub(super) fn placed(&self) -> Option<&Placement> {
        self.metadata.placements().next().filter(|_| self.open)
    }

    pub(super) fn word_for(&self, spu: i32) -> Option<Word> {
        let dropped = self.placed()?.dropped.contains(&spu);
        Some(Word { assignment: assignments(spu, &self.metadata).into_values().next(), dropped })
    }

    /// An SPU came on this link.
    pub(super) fn came(&mut self, spu: i32, link: u64, hello: Hello) {
        if self.last_links.get(&spu).is_some_and(|newer| *newer > link) {
            return;
        }
        self.last_links.insert(spu, link);
        let held: Vec<Assignment> = hello.held.into_iter().collect();
        if let Some(next) = adopt(&self.metadata, &held) {
            self.metadata = if self.open { self.learn_late(spu, !held.is_empty(), &next) } else { next };
        }
        if !self.open {
            self.gathered.insert(spu, (hello.fresh, !held.is_empty()));
        } else {
            let holds = held.iter().map(|held| (held.topic_id, held.key.partition)).collect();
            if let Some(next) = heard_at_last(&self.metadata, spu, &holds) {
                self.metadata = next;
            }
            if hello.fresh {
                self.came_back(spu, true, !held.is_empty());
            }
        }
        self.online.insert(spu, link);
        self.gone.remove(&spu);
        self.lost.remove(&spu);
        self.came.insert(spu);
        self.calm = false;
        self.reports.retain(|(_, reporter), _| *reporter != spu);
        if !self.open && SPUS.clone().all(|spu| self.came.contains(&spu)) {
            self.metadata = fenced(&Metadata::default(), &self.metadata, 1);
            self.open();
        }
        self.settle();
    }

    /// Of what one learns that serves already.
    fn learn_late(&self, spu: i32, holds: bool, adopted: &Metadata) -> Metadata {
        let fenced = fenced(&self.metadata, adopted, UNHEARD_EPOCHS);
        let placed_on = |spu: &i32| self.metadata.placements().any(|placed| placed.replicas.contains(spu));
        let came = self.came.iter().map(|spu| (*spu, placed_on(spu))).chain([(spu, holds)]);
        learnt_late(&self.metadata, &fenced, &came.map(heard_of).collect(), &SPUS.collect())
    }

    fn open(&mut self) {
        self.open = true;
        for (spu, (fresh, holds)) in std::mem::take(&mut self.gathered) {
            self.came_back(spu, fresh, holds);
        }
    }

    /// Goes on without those that have not come, if it knows enough.
    fn give_up_waiting(&mut self) {
        let heard: Heard = self.gathered.iter().map(|(spu, (_, holds))| heard_of((*spu, *holds))).collect();
        // Of a cluster that has other topics, of one copy, it knows enough even where it does not know of this one.
        let others = self.metadata.placements().next().is_none() && !heard.is_empty();
        if !self.open && (others || heard_enough(&self.metadata, &heard, &SPUS.collect())) {
            let fenced = fenced(&Metadata::default(), &self.metadata, UNHEARD_EPOCHS);
            self.metadata = without_leaders(&fenced, &heard, &SPUS.collect());
            self.open();
        }
    }

    /// An SPU says how its copy stands.
    pub(super) fn report(&mut self, spu: i32, report: ReplicaReport) {
        self.reports.insert((report.key.clone(), spu), report);
        self.settle();
    }

    fn came_back(&mut self, spu: i32, fresh: bool, holds: bool) {
        let holds = holds.then_some((TOPIC, 0)).into_iter().collect();
        let came = Came { spu, fresh, holds: &holds, durability: Durability::Disk };
        if let Some(next) = came_back(&self.metadata, &self.facts(), &came) {
            self.metadata = next;
        }
    }

    /// A link ended; a newer one of the same SPU may have come before.
    pub(super) fn went(&mut self, spu: i32, link: u64) {
        if self.online.get(&spu) == Some(&link) {
            self.online.remove(&spu);
            self.gone.insert(spu);
            self.calm = false;
            self.settle();
        }
    }

    pub(super) fn asked(&mut self, spu: i32, asked: &InSyncAsked) {
        if let Ok(next) = change_in_sync(&self.metadata, &self.facts(), spu, asked) {
            self.metadata = next;
            self.settle();
        }
    }

    /// For a while nobody came or went; whoever is away by now is not waited for any more.
    pub(super) fn rest(&mut self) {
        self.give_up_waiting();
        (self.calm, self.lost) = (true, self.gone.clone());
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        if !self.open {
            return;
        }
        if let Some(next) = lead_again(&self.metadata, &self.facts(), &self.reports) {
            self.metadata = next;
        }
        if let Some(next) = elect(&self.metadata, &self.facts()) {
            self.metadata = next;
        }
        while let Some(next) = move_copies(&self.metadata, &self.facts()) {
            self.metadata = next;
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            spus: SPUS.map(|spu| (spu, self.online.contains_key(&spu))).collect(),
            gone: self.gone.clone(),
            lost: self.lost.clone(),
            leaving: self.leaving.into_iter().collect(),
            calm: self.calm,
            partitions_limit: 10,
            ..Facts::default()
        }
    }
}

/// What an SPU has: its copy or nothing.
fn heard_of((spu, holds): (i32, bool)) -> (i32, BTreeSet<(Uuid, u32)>) {
    (spu, holds.then_some((TOPIC, 0)).into_iter().collect())
}
