//! What SC and SPU say to each other: one JSON value a frame.

use std::collections::{BTreeMap, BTreeSet};

use cluster_settings::Settings;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::pump::Message;
use crate::sc::decide::InSyncAsked;
use crate::sc::metadata::InSync;
use crate::sc::topic::TopicOptions;

/// Version of the messages: 2 brought beats, 3 copies of partitions, 4 copies that move.
pub const VERSION: u32 = 4;

/// The oldest version that an SC takes from an SPU, since an upgrade reaches the SC first and its SPUs one by
/// one. Whatever else comes is refused with a clear reason.
pub const VERSION_MIN: u32 = 1;

/// The first version in which both sides beat.
pub const VERSION_WITH_BEATS: u32 = 2;

/// The first version in which an SPU hears of others; an older one would take such a message for a fault.
pub const VERSION_WITH_PEERS: u32 = 3;

/// The first version in which an SPU removes what it was told to drop, leads copies that were added, and knows
/// [`OffsetsAnswer::NotNow`].
pub const VERSION_WITH_MOVES: u32 = 4;

/// Largest frame that either side accepts.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// A partition by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionKey {
    /// Topic.
    pub topic: String,
    /// Index in the topic.
    pub partition: u32,
}

impl std::fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition that an SPU keeps a copy of. The SPU stores it durably beside the log: an SC that lost its
/// disk is rebuilt from these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its name.
    pub key: PartitionKey,
    /// The topic's incarnation: a topic deleted and made again has the same name and another id, and never
    /// sees the old one's data.
    pub topic_id: Uuid,
    /// Grows with every change of leader.
    pub epoch: u32,
    /// SPU that takes produce and consume.
    pub leader: i32,
    /// All SPUs with a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that have every committed record.
    #[serde(default)]
    pub in_sync: InSync,
    /// How many copies there are to be; 0 in what was written before copies moved: as many as there are.
    #[serde(default)]
    pub factor: usize,
    /// Whether the client chose the SPUs (for rebuilding the topic's spec).
    pub placed_by_client: bool,
    /// Retention, sizes, compression.
    pub options: TopicOptions,
}

impl Assignment {
    /// How many copies there are to be.
    pub fn factor(&self) -> usize {
        if self.factor == 0 { self.replicas.len() } else { self.factor }
    }

    /// The copies in sync; what was written before there were copies says nothing of it and had one.
    pub fn in_sync(&self) -> BTreeSet<i32> {
        if self.in_sync.spus.is_empty() {
            self.replicas.iter().copied().collect()
        } else {
            self.in_sync.spus.clone()
        }
    }
}

/// Who leads a partition, and since which epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// SPU id.
    pub spu: i32,
    /// Epoch.
    pub epoch: u32,
    /// The topic's incarnation.
    pub topic_id: Uuid,
}

impl Leader {
    /// As an assignment says.
    pub fn of(assignment: &Assignment) -> Self {
        Self { spu: assignment.leader, epoch: assignment.epoch, topic_id: assignment.topic_id }
    }
}

/// Everything that an SPU is told about partitions; a newer view replaces an older one whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The metadata's version; goes back to [`super::SpuLink::applied`].
    pub revision: u64,
    /// The partitions that this SPU keeps a copy of.
    pub assignments: BTreeMap<PartitionKey, Assignment>,
    /// Every topic of the cluster by name, with its incarnation (consumer offsets of others are void).
    pub topics: BTreeMap<String, Uuid>,
    /// Who leads each partition of the cluster: a client may ask any SPU.
    pub leaders: BTreeMap<PartitionKey, Leader>,
    /// Incarnations that were deleted: only their data and the dropped copies may be removed from disk. What is
    /// neither assigned nor one of them is kept and not served.
    pub retired: BTreeSet<Uuid>,
    /// Copies, by incarnation and number, that others have in this SPU's place.
    pub dropped: BTreeSet<(Uuid, u32)>,
    /// The SmartModules that the SC keeps, each as `[group/]name[@version]`.
    pub smart_modules: BTreeSet<String>,
}

/// A change of a [`View`], as sent: `whole` starts from an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChange {
    /// The revision after the change.
    pub revision: u64,
    /// Whether the receiver forgets its old view first.
    pub whole: bool,
    /// New or altered assignments.
    pub assigned: Vec<Assignment>,
    /// Assignments that ended.
    pub unassigned: Vec<PartitionKey>,
    /// New topics or new incarnations.
    pub topics_made: BTreeMap<String, Uuid>,
    /// Topics that ended.
    pub topics_gone: Vec<String>,
    /// Partitions that have another leader or epoch than before.
    #[serde(default)]
    pub led: Vec<(PartitionKey, Leader)>,
    /// The deleted incarnations not yet confirmed by this SPU, complete at each change.
    pub retired: BTreeSet<Uuid>,
    /// The copies that this SPU may throw away, complete at each change.
    #[serde(default)]
    pub dropped: BTreeSet<(Uuid, u32)>,
    /// All SmartModules that the SC keeps; `None` while they are as before, and always from an SC that keeps none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smart_modules: Option<BTreeSet<String>>,
}

/// How a copy of a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// Takes records.
    Online,
    /// Serves what it has and takes no more.
    OutOfStorage,
    /// Its disk or log failed.
    Failed,
}

/// How one copy stands. Sent on each change, coalesced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// The partition.
    pub key: PartitionKey,
    /// Its incarnation; a report about an older one is ignored.
    pub topic_id: Uuid,
    /// Epoch of the assignment that the SPU acts on.
    pub epoch: u32,
    /// State.
    pub state: ReplicaState,
    /// First offset in the log.
    pub base_offset: i64,
    /// First offset not yet safe to serve.
    pub high_watermark: i64,
    /// First offset not yet written.
    pub log_end: i64,
    /// Bytes on disk.
    pub size: u64,
    /// While nobody leads the partition: how far the copy is durable.
    #[serde(default)]
    pub durable: Option<DurableEnd>,
    /// Places in the log that are damaged and not mended yet.
    #[serde(default)]
    pub damaged: u64,
    /// The SC lets this SPU lead in this epoch, and it does not: it may have lost what others have of the epoch. It leads
    /// in a later one.
    #[serde(default)]
    pub lost_lead: bool,
}

/// Where the durable part of a copy ends. Of two copies that are whole of the same epoch the longer has all that the other
/// has of what was committed; a copy that is whole of a later epoch has all that was committed in earlier ones. So the
/// greatest has everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DurableEnd {
    /// The last epoch of which it is whole: it has all that the epoch's leader began with, or a record of it; `None`
    /// without any.
    pub epoch: Option<i32>,
    /// Offset behind it.
    pub offset: i64,
}

/// An operation on consumer offsets, which live with the leader of the system topic's only partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetsRequest {
    /// Record how far a consumer came.
    Update {
        /// The consumer.
        consumer_id: String,
        /// What it reads.
        key: PartitionKey,
        /// Offset of the last record that it finished.
        offset: i64,
    },
    /// Forget a consumer of one partition.
    Delete {
        /// The consumer.
        consumer_id: String,
        /// What it read.
        key: PartitionKey,
    },
    /// List them.
    Fetch {
        /// Only this consumer.
        consumer_id: Option<String>,
        /// Only this partition.
        key: Option<PartitionKey>,
    },
}

/// The answer to an [`OffsetsRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetsAnswer {
    /// Done, durably.
    Done,
    /// The list.
    Consumers(Vec<ConsumerOffset>),
    /// Not done, and why, for a person.
    Failed(String),
    /// Perhaps not done, and why: whoever leads them is away or has just begun. To be asked again in a moment.
    NotNow(String),
}

/// How far one consumer of one partition came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerOffset {
    /// The consumer.
    pub consumer_id: String,
    /// What it reads.
    pub key: PartitionKey,
    /// Offset of the last record that it finished.
    pub offset: i64,
    /// Seconds since 1970.
    pub modified: u64,
}

/// From an SPU to the SC.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromSpu {
    /// First message of a connection.
    Hello {
        /// [`VERSION`] of the SPU.
        version: u32,
        /// Its name, by which the settings know its id.
        name: String,
        /// What it holds on disk.
        assignments: Vec<Assignment>,
        /// Generation of the settings that it holds, 0 for none.
        generation: u64,
        /// Where other SPUs reach it.
        #[serde(default)]
        peer: Option<String>,
        /// Whether it has just started: it leads nothing that others follow before it has led that in a new epoch,
        /// since it may have lost what they had already.
        #[serde(default)]
        fresh: bool,
    },
    /// The view of this revision is in force, its retired data durably forgotten.
    ViewApplied(u64),
    /// The settings of this generation are in force.
    SettingsApplied(u64),
    /// How its copies stand.
    Report(Vec<ReplicaReport>),
    /// Asks for another set of copies in sync; the answer is the assignment.
    InSync(InSyncAsked),
    /// Ask whichever SPU leads the consumer offsets.
    Offsets {
        /// Comes back with the answer.
        id: u64,
        /// The operation.
        request: OffsetsRequest,
    },
    /// Answer to [`FromSc::Offsets`].
    OffsetsAnswer {
        /// Of the request.
        id: u64,
        /// The outcome.
        answer: OffsetsAnswer,
    },
    /// Nothing but that the sender lives.
    Beat,
}

/// From the SC to an SPU.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromSc {
    /// Registered.
    Welcome {
        /// The SPU's id.
        spu: i32,
    },
    /// Not registered, and why; the SPU tries again later.
    Refused(String),
    /// The cluster's settings.
    Settings(Box<Settings>),
    /// What the SPU keeps.
    View(ViewChange),
    /// Where the SPUs reach each other, by id; those that are not named stay where they were.
    Peers(BTreeMap<i32, String>),
    /// Bytes of log on all other SPUs, for the cluster's storage limit.
    StorageElsewhere(u64),
    /// An operation for the leader of the consumer offsets.
    Offsets {
        /// Comes back with the answer.
        id: u64,
        /// The operation.
        request: OffsetsRequest,
    },
    /// Answer to [`FromSpu::Offsets`].
    OffsetsAnswer {
        /// Of the request.
        id: u64,
        /// The outcome.
        answer: OffsetsAnswer,
    },
    /// Nothing but that the sender lives.
    Beat,
}

impl Message for FromSpu {
    const BEAT: Self = Self::Beat;

    fn is_beat(&self) -> bool {
        matches!(self, Self::Beat)
    }
}

impl Message for FromSc {
    const BEAT: Self = Self::Beat;

    fn is_beat(&self) -> bool {
        matches!(self, Self::Beat)
    }
}

impl View {
    /// The view after a change.
    pub fn after(&self, change: ViewChange) -> Self {
        let mut view = if change.whole { Self::default() } else { self.clone() };
        view.revision = change.revision;
        for key in &change.unassigned {
            view.assignments.remove(key);
        }
        for name in &change.topics_gone {
            view.topics.remove(name);
        }
        let ended =
            |topic: &String| change.topics_gone.contains(topic) || change.topics_made.contains_key(topic);
        view.leaders.retain(|key, _| !ended(&key.topic));
        view.leaders.extend(change.led);
        view.assignments
            .extend(change.assigned.into_iter().map(|assignment| (assignment.key.clone(), assignment)));
        view.topics.extend(change.topics_made);
        view.retired = change.retired;
        view.dropped = change.dropped;
        if let Some(smart_modules) = change.smart_modules {
            view.smart_modules = smart_modules;
        }
        view
    }
}
