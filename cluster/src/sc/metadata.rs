//! The metadata that must outlive every crash: topics, their placement, and which deleted ones still lie on
//! some SPU's disk. One small document, replaced whole; the decisions are pure functions from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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

/// Where one partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Placement {
    /// Grows with every change of leader.
    pub epoch: u32,
    /// SPU that takes produce and consume.
    pub leader: i32,
    /// All SPUs with a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that have every committed record, the leader among them; only they may be elected.
    pub in_sync: InSync,
}

/// The copies that have every committed record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSync {
    /// Grows with every change of the set: a change that was asked for on the ground of another set is refused.
    pub version: u32,
    /// SPU ids.
    pub spus: BTreeSet<i32>,
}

impl Placement {
    /// A new partition: every copy is empty, so all have everything.
    pub fn new(leader: i32, replicas: Vec<i32>) -> Self {
        let in_sync = InSync { version: 0, spus: replicas.iter().copied().collect() };
        Self { epoch: 0, leader, replicas, in_sync }
    }

    /// Copies that have to have a record before it is committed: a majority.
    pub fn least_in_sync(n_replicas: usize) -> usize {
        n_replicas / 2 + 1
    }
}

/// A placement as it was written before copies were kept: every partition had one.
#[derive(Deserialize)]
struct Written {
    epoch: u32,
    leader: i32,
    replicas: Vec<i32>,
    in_sync: Option<InSync>,
}

impl From<Written> for Placement {
    fn from(written: Written) -> Self {
        let Written { epoch, leader, replicas, in_sync } = written;
        let plain = Self::new(leader, replicas);
        Self { epoch, in_sync: in_sync.unwrap_or(plain.in_sync.clone()), ..plain }
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

    /// Whether an incarnation is in use.
    pub fn has_incarnation(&self, id: Uuid) -> bool {
        self.topics.values().any(|topic| topic.id == id)
    }
}
