//! The partitions of this SPU, found by topic and number.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use cluster_storage::{Commit, Config, Durability, Partition, PartitionName, State};
use uuid::Uuid;

use super::whole::CopyId;
use crate::link::{Assignment, DurableEnd, PartitionKey, ReplicaReport, ReplicaState};
use crate::sc::metadata::NOBODY;
use crate::wire::ErrorCode;

/// A disk that does not answer for so long counts as one that failed: another copy can lead meanwhile. Less than a request
/// is held.
const HANGS_AFTER: Duration = Duration::from_secs(10);

const SYSTEM_SEGMENT: u64 = 1 << 20;

/// One partition of this SPU.
pub struct Replica {
    /// What the SC said about it.
    pub assignment: Assignment,
    /// Whether this SPU takes its produce and consume requests.
    pub leads: bool,
    /// Its log, or why there is none.
    pub log: Result<Partition, Arc<str>>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replica({}, leads: {}, open: {})", self.assignment.key, self.leads, self.log.is_ok())
    }
}

impl Replica {
    /// Whether other SPUs have copies of it.
    pub(super) fn has_copies(&self) -> bool {
        self.assignment.replicas.len() > 1
    }

    /// Whether its disk does not answer.
    pub(super) fn hangs(&self) -> bool {
        self.log.as_ref().is_ok_and(|log| log.busy_for() >= HANGS_AFTER)
    }

    /// Whether it is the same incarnation in the same epoch.
    pub(super) fn is_led_as(&self, assignment: &Assignment) -> bool {
        let led = |one: &Assignment| (one.topic_id, one.epoch);
        led(&self.assignment) == led(assignment)
    }

    /// The epoch that batches are stored with.
    pub(super) fn epoch_of(assignment: &Assignment) -> i32 {
        i32::try_from(assignment.epoch).unwrap_or(i32::MAX)
    }

    /// Where its log is.
    pub(super) fn folder_of(assignment: &Assignment) -> Option<PartitionName> {
        let topic = format!("{}-{}", assignment.key.topic, assignment.topic_id.simple());
        PartitionName::new(topic, assignment.key.partition)
    }

    /// The incarnation that a folder belongs to.
    pub(super) fn incarnation_of(folder: &PartitionName) -> Option<Uuid> {
        folder.topic().rsplit_once('-').and_then(|(_, id)| Uuid::try_parse(id).ok())
    }

    /// How its log is kept.
    pub(super) fn config_of(assignment: &Assignment, durability: cluster_settings::Durability) -> Config {
        let options = &assignment.options;
        let segment_bytes = u64::from(options.segment_bytes_in_force());
        Config {
            // Compaction lets go of whole segments, so those of consumers' offsets are small.
            segment_bytes: if options.system { segment_bytes.min(SYSTEM_SEGMENT) } else { segment_bytes },
            retention: options.retention_in_force().map(|seconds| Duration::from_secs(seconds.into())),
            // Consumers' offsets are compacted by their own code and by nothing else.
            max_bytes: (!options.system).then(|| options.partition_bytes_in_force()),
            durability: match durability {
                cluster_settings::Durability::Disk => Durability::Disk,
                cluster_settings::Durability::Memory => Durability::Memory,
            },
            leader_epoch: Self::epoch_of(assignment),
            commit: if assignment.replicas.len() > 1 { Commit::Told } else { Commit::Alone },
            ..Config::default()
        }
    }

    /// Which copy it is, whatever its topic is called.
    pub(super) fn id(&self) -> CopyId {
        (self.assignment.topic_id, self.assignment.key.partition)
    }

    /// How it stands, for the SC, with so many damaged places, whole of this epoch, and whether it is to lead and does not.
    pub(super) fn report(&self, damaged: u64, whole: Option<u32>, lost_lead: bool) -> ReplicaReport {
        let (state, offsets, size) = match &self.log {
            Ok(log) => {
                let state = match log.state() {
                    State::Open if self.hangs() => ReplicaState::Failed,
                    State::Open => ReplicaState::Online,
                    State::ReadOnly { .. } | State::Closed | State::Deleted => ReplicaState::Failed,
                };
                (state, Some(log.offsets()), log.size())
            }
            Err(_) => (ReplicaState::Failed, None, 0),
        };
        ReplicaReport {
            key: self.assignment.key.clone(),
            topic_id: self.assignment.topic_id,
            epoch: self.assignment.epoch,
            state,
            base_offset: offsets.map_or(0, |offsets| offsets.log_start),
            high_watermark: offsets.map_or(0, |offsets| offsets.hw),
            log_end: offsets.map_or(0, |offsets| offsets.leo),
            size,
            durable: self.durable(whole),
            damaged,
            lost_lead,
        }
    }

    /// Where its durable part ends, if that decides who leads.
    fn durable(&self, whole: Option<u32>) -> Option<DurableEnd> {
        let log = self.log.as_ref().ok().filter(|_| self.assignment.leader == NOBODY)?;
        let offset = *log.watch_durable().borrow();
        let whole = whole.and_then(|epoch| i32::try_from(epoch).ok());
        Some(DurableEnd { epoch: log.epoch_before(offset).max(whole), offset })
    }

    /// Closes its log.
    pub(super) async fn close(&self) {
        if let Ok(log) = &self.log {
            log.close().await;
        }
    }
}

type ByPartition = HashMap<u32, Arc<Replica>>;

/// All partitions of this SPU. Reading takes no lock; one task writes.
#[derive(Debug, Default)]
pub struct Replicas {
    topics: ArcSwap<HashMap<String, ByPartition>>,
    /// Folders that are on disk, open or not.
    folders: Mutex<BTreeSet<PartitionName>>,
}

impl Replicas {
    /// The partition, if this SPU has a copy.
    pub fn get(&self, topic: &str, partition: u32) -> Option<Arc<Replica>> {
        self.topics.load().get(topic)?.get(&partition).cloned()
    }

    /// The partition's log, if this SPU leads it; else the code for `not_leader`, or what is wrong with it.
    pub(super) fn leader(
        &self,
        topic: &str,
        partition: u32,
        not_leader: ErrorCode,
    ) -> Result<(Arc<Replica>, Partition), ErrorCode> {
        let Some(replica) = self.get(topic, partition).filter(|replica| replica.leads) else {
            return Err(not_leader);
        };
        match &replica.log {
            Ok(log) => Ok((Arc::clone(&replica), log.clone())),
            Err(_) => Err(ErrorCode::StorageError),
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.topics.load().values().flat_map(HashMap::values).cloned().collect()
    }

    /// Replaces all of them.
    pub(super) fn replace(&self, replicas: Vec<Arc<Replica>>) {
        let mut topics: HashMap<String, ByPartition> = HashMap::new();
        for replica in replicas {
            let PartitionKey { topic, partition } = replica.assignment.key.clone();
            topics.entry(topic).or_default().insert(partition, replica);
        }
        self.topics.store(Arc::new(topics));
    }

    pub(super) fn remember_folders(&self, found: Vec<PartitionName>) {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
    }

    pub(super) fn forget_folder(&self, folder: &PartitionName) {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).remove(folder);
    }

    pub(super) fn folders(&self) -> Vec<PartitionName> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
