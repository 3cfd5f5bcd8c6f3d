//! The metadata that must outlive every crash: topics, their placement, and which deleted ones still lie on
//! some SPU's disk. One small document, replaced whole; the decisions are pure functions from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::objects::Objects;
use super::topic::TopicSpec;

/// Everything that the SC must not forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Grows by one with every change.
    pub revision: u64,
    /// Topics by name.
    pub topics: BTreeMap<String, Arc<Topic>>,
    /// Deleted incarnations, with the SPUs that may still hold data of them.
    pub retired: BTreeMap<Uuid, BTreeSet<i32>>,
    /// What clients store beside topics.
    #[serde(default, skip_serializing_if = "Objects::is_empty")]
    pub objects: Objects,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its incarnation.
    pub id: Uuid,
    /// What was asked for.
    pub spec: TopicSpec,
    /// Whether it has what was asked for.
    pub standing: Standing,
    /// Where its partitions are. Fewer than the spec's while it waits.
    pub partitions: BTreeMap<u32, Placement>,
}

/// Whether a topic has what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Every partition has its place.
    Provisioned,
    /// It gets its place by itself as soon as there is one; why not now.
    Waiting(String),
    /// It can never have it; why.
    Invalid(String),
}

/// In a leader's place while nobody leads.
pub const NOBODY: i32 = -1;

/// Where one partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Placement {
    /// Grows with every change of leader.
    pub epoch: u32,
    /// SPU that takes produce and consume; [`NOBODY`] while it has to be found out who has everything.
    pub leader: i32,
    /// All SPUs with a copy, the preferred leader first. More than the factor while copies move.
    pub replicas: Vec<i32>,
    /// Those of them that have every committed record, the leader among them; only they may be elected.
    pub in_sync: InSync,
    /// How many copies there are to be.
    pub factor: usize,
    /// Where the copies are to be in the end, the preferred leader first; empty while none moves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moving_to: Vec<i32>,
    /// SPUs that had a copy and may throw it away.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<i32>,
    /// While nobody leads: SPUs with a copy that may lack what it had, so that it is no witness.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub blank: BTreeSet<i32>,
    /// While nobody leads: SPUs that were not heard of and may have a copy that nobody here knows of, made while copies
    /// moved.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unheard: BTreeSet<i32>,
}

/// The copies that have every committed record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSync {
    /// Grows with every change of the set and of the copies: a change that was asked for on the ground of others is
    /// refused.
    pub version: u32,
    /// SPU ids.
    pub spus: BTreeSet<i32>,
}

impl Placement {
    /// A new partition: every copy is empty, so all have everything.
    pub fn new(leader: i32, replicas: Vec<i32>) -> Self {
        let in_sync = InSync { version: 0, spus: replicas.iter().copied().collect() };
        let factor = replicas.len();
        let (moving_to, none) = (Vec::new(), BTreeSet::new());
        let (dropped, blank, unheard) = (none.clone(), none.clone(), none);
        Self { epoch: 0, leader, replicas, in_sync, factor, moving_to, dropped, blank, unheard }
    }

    /// Copies that have to have a record before it is committed.
    pub fn least_in_sync(&self) -> usize {
        majority(self.factor)
    }
}

/// More than half.
pub fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// A placement as it is written. Before copies were kept every partition had one, and before they moved there were as
/// many as there were to be.
#[derive(Deserialize)]
struct Written {
    epoch: u32,
    leader: i32,
    replicas: Vec<i32>,
    in_sync: Option<InSync>,
    factor: Option<usize>,
    #[serde(default)]
    moving_to: Vec<i32>,
    #[serde(default)]
    dropped: BTreeSet<i32>,
    #[serde(default)]
    blank: BTreeSet<i32>,
    #[serde(default)]
    unheard: BTreeSet<i32>,
}

impl From<Written> for Placement {
    fn from(written: Written) -> Self {
        let Written { epoch, leader, replicas, in_sync, factor, moving_to, dropped, blank, unheard } =
            written;
        let plain = Self::new(leader, replicas);
        let in_sync = in_sync.unwrap_or_else(|| plain.in_sync.clone());
        let factor = factor.unwrap_or(plain.factor);
        Self { epoch, in_sync, factor, moving_to, dropped, blank, unheard, ..plain }
    }
}

impl Metadata {
    /// Partitions that count against the cluster's limit: all but the system's, waiting ones as well.
    pub fn n_partitions(&self) -> u32 {
        self.topics
            .values()
            .filter(|topic| !topic.spec.options.system)
            .map(|topic| topic.spec.replicas.partitions())
            .fold(0, u32::saturating_add)
    }

    /// The metadata with one topic put in or replaced.
    pub fn with_topic(&self, name: &str, topic: Topic) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        next.topics.insert(name.into(), Arc::new(topic));
        next
    }

    /// The metadata with other placements where there are such; however many, it is one change. `None` if there are
    /// none.
    pub fn with_placements(
        &self,
        mut change: impl FnMut(&Topic, u32, &Placement) -> Option<Placement>,
    ) -> Option<Self> {
        let mut next = self.clone();
        for topic in next.topics.values_mut() {
            let changed: Vec<(u32, Placement)> = topic
                .partitions
                .iter()
                .filter_map(|(index, placed)| Some((*index, change(topic, *index, placed)?)))
                .collect();
            if !changed.is_empty() {
                next.revision = self.revision + 1;
                Arc::make_mut(topic).partitions.extend(changed);
            }
        }
        (next.revision != self.revision).then_some(next)
    }

    /// All placements, each with its topic and number.
    pub fn placed(&self) -> impl Iterator<Item = (&Topic, u32, &Placement)> {
        self.topics
            .values()
            .flat_map(|topic| topic.partitions.iter().map(move |(index, placed)| (&**topic, *index, placed)))
    }

    /// All placements.
    pub fn placements(&self) -> impl Iterator<Item = &Placement> {
        self.placed().map(|(_, _, placed)| placed)
    }

    /// Whether an incarnation is in use.
    pub fn has_incarnation(&self, id: Uuid) -> bool {
        self.topics.values().any(|topic| topic.id == id)
    }
}
