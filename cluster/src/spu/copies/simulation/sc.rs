//! The SC: its metadata on the real store, who it believes to be there, and the real decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use cluster_settings::Durability;
use cluster_storage::disk::simulated::SimulatedDisk;
use uuid::Uuid;

use super::copy::disk_with;
use crate::link::{Assignment, PartitionKey, ReplicaReport, assignments};
use crate::sc::decide::{
    Came, Heard, InSyncAsked, Unwell, World as Facts, adopt, came_back, change_in_sync, elect, fenced,
    heard_at_last, heard_enough, lead_again, learnt_late, move_copies, without_leaders,
};
use crate::sc::metadata::{Metadata, Placement, Standing, Topic};
use crate::sc::store::Store;
use crate::sc::topic::{Replicas, TopicOptions, TopicSpec};

pub(super) const TOPIC: Uuid = Uuid::from_u128(7);
/// One more than there are copies.
pub(super) const SPUS: std::ops::RangeInclusive<i32> = 1..=4;

/// More elections than anybody can have missed.
const UNHEARD_EPOCHS: u32 = 1 << 16;

const FOLDER: &str = "/sc";

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

pub(super) struct Sc {
    disk: SimulatedDisk,
    store: Store,
    metadata: Metadata,
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

impl std::fmt::Debug for Sc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { metadata, open, online, gone, lost, leaving, reports, .. } = self;
        write!(
            f,
            "Sc(open: {open}, online: {online:?}, gone: {gone:?}, lost: {lost:?}, leaving: {leaving:?}, "
        )?;
        write!(f, "{metadata:?}, {reports:?})")
    }
}

impl Sc {
    pub(super) fn new(seed: u64) -> Self {
        let replicas = Replicas::Computed { partitions: 1, replication_factor: 3, ignore_rack: false };
        let spec = TopicSpec { replicas, options: TopicOptions::default() };
        let placed = Placement::new(1, vec![1, 2, 3]);
        let topic =
            Topic { id: TOPIC, spec, standing: Standing::Provisioned, partitions: [(0, placed)].into() };
        let mut sc = Self::start(disk_with(FOLDER, seed), None);
        sc.open = true;
        assert!(sc.commit(Metadata::default().with_topic("t", topic)));
        sc
    }

    /// A new process, with what is on this disk.
    fn start(disk: SimulatedDisk, leaving: Option<i32>) -> Self {
        let store = Store::over(PathBuf::from(FOLDER), Arc::new(disk.clone())).unwrap();
        let metadata = store.metadata().expect("metadata is never damaged");
        Self {
            disk,
            store,
            open: metadata.is_some(),
            metadata: metadata.unwrap_or_default(),
            reports: BTreeMap::new(),
            gathered: BTreeMap::new(),
            came: BTreeSet::new(),
            online: BTreeMap::new(),
            last_links: BTreeMap::new(),
            gone: BTreeSet::new(),
            lost: BTreeSet::new(),
            leaving,
            calm: false,
        }
    }

    /// It dies, and the power goes with it.
    pub(super) fn crash(&mut self) {
        *self = Self::start(self.disk.restart(), self.leaving);
    }

    pub(super) fn lose_disk(&mut self, seed: u64) {
        *self = Self::start(disk_with(FOLDER, seed), self.leaving);
    }

    pub(super) fn cut_power_after(&self, operations: u64) {
        self.disk.cut_power_after(operations);
    }

    pub(super) fn mend_disk(&self) {
        self.disk.mend();
    }

    pub(super) fn has_power(&self) -> bool {
        !self.disk.is_dead()
    }

    /// On disk first, then in force; what the disk does not take is not so.
    fn commit(&mut self, next: Metadata) -> bool {
        let kept = self.store.write_metadata(&next).is_ok();
        if kept {
            self.metadata = next;
        }
        kept
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
            match self.open {
                true => drop(self.commit(self.learn_late(spu, !held.is_empty(), &next))),
                false => self.metadata = next,
            }
        }
        if !self.open {
            self.gathered.insert(spu, (hello.fresh, !held.is_empty()));
        } else {
            let holds = held.iter().map(|held| (held.topic_id, held.key.partition)).collect();
            if let Some(next) = heard_at_last(&self.metadata, spu, &holds) {
                self.commit(next);
            }
            if hello.fresh
                && let Some(next) = self.came_back(&self.metadata, spu, true, !held.is_empty())
            {
                self.commit(next);
            }
        }
        self.online.insert(spu, link);
        self.gone.remove(&spu);
        self.lost.remove(&spu);
        self.came.insert(spu);
        self.calm = false;
        self.reports.retain(|(_, reporter), _| *reporter != spu);
        if !self.open && SPUS.clone().all(|spu| self.came.contains(&spu)) {
            self.open_with(fenced(&Metadata::default(), &self.metadata, 1));
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

    fn open_with(&mut self, mut next: Metadata) {
        for (spu, (fresh, holds)) in &self.gathered {
            next = self.came_back(&next, *spu, *fresh, *holds).unwrap_or(next);
        }
        if self.commit(next) {
            self.open = true;
            self.gathered.clear();
        }
    }

    /// Goes on without those that have not come, if it knows enough.
    fn give_up_waiting(&mut self) {
        let heard: Heard = self.gathered.iter().map(|(spu, (_, holds))| heard_of((*spu, *holds))).collect();
        // Of a cluster that has other topics, of one copy, it knows enough even where it does not know of this one.
        let others = self.metadata.placements().next().is_none() && !heard.is_empty();
        if !self.open && (others || heard_enough(&self.metadata, &heard, &SPUS.collect())) {
            let fenced = fenced(&Metadata::default(), &self.metadata, UNHEARD_EPOCHS);
            self.open_with(without_leaders(&fenced, &heard, &SPUS.collect()));
        }
    }

    /// An SPU says how its copy stands. Late on an older link, that is of a time before.
    pub(super) fn report(&mut self, spu: i32, link: u64, report: ReplicaReport) {
        if self.last_links.get(&spu) != Some(&link) {
            return;
        }
        self.reports.insert((report.key.clone(), spu), report);
        self.settle();
    }

    fn came_back(&self, metadata: &Metadata, spu: i32, fresh: bool, holds: bool) -> Option<Metadata> {
        let holds = holds.then_some((TOPIC, 0)).into_iter().collect();
        came_back(metadata, &self.facts(), &Came { spu, fresh, holds: &holds, durability: Durability::Disk })
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
        // What was only gathered is not to be written down.
        let next = change_in_sync(&self.metadata, &self.facts(), spu, asked).ok().filter(|_| self.open);
        if let Some(next) = next {
            self.commit(next);
            self.settle();
        }
    }

    /// For a while nobody came or went; whoever is away by now is not waited for any more.
    pub(super) fn rest(&mut self) {
        self.give_up_waiting();
        self.gone.extend(SPUS.filter(|spu| !self.came.contains(spu)));
        (self.calm, self.lost) = (true, self.gone.clone());
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        if !self.open {
            return;
        }
        if let Some(next) = lead_again(&self.metadata, &self.facts(), &self.reports) {
            self.commit(next);
        }
        if let Some(next) = elect(&self.metadata, &self.facts()) {
            self.commit(next);
        }
        while let Some(next) = move_copies(&self.metadata, &self.facts()) {
            if !self.commit(next) {
                return;
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            spus: SPUS.map(|spu| (spu, self.online.contains_key(&spu))).collect(),
            gone: self.gone.clone(),
            lost: self.lost.clone(),
            leaving: self.leaving.into_iter().collect(),
            calm: self.calm,
            unwell: Unwell::of(&self.metadata, &self.reports),
            partitions_limit: 10,
            ..Facts::default()
        }
    }
}

/// What an SPU has: its copy or nothing.
fn heard_of((spu, holds): (i32, bool)) -> (i32, BTreeSet<(Uuid, u32)>) {
    (spu, holds.then_some((TOPIC, 0)).into_iter().collect())
}
