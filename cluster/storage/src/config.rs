//! What can be set for a partition, at opening and while it runs.

use std::time::Duration;

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The bytes are on disk.
    #[default]
    Disk,
    /// The bytes are with the kernel; a power cut may lose them.
    Memory,
}

/// Who says what is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Commit {
    /// This copy is the only one: what is durable here is committed.
    #[default]
    Alone,
    /// There are others: [`crate::Partition::commit`] says.
    Told,
}

/// A partition's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A segment is closed and a new one begun before it would grow over this. At least
    /// [`Config::LEAST_SEGMENT_BYTES`], at most [`Config::MOST_SEGMENT_BYTES`]; a value outside is moved to
    /// the bound. No batch can be larger.
    pub segment_bytes: u64,
    /// Records are removed when they were appended longer ago than this. None keeps them.
    pub retention: Option<Duration>,
    /// The oldest segments are removed while the partition is larger than this. Segments are then at most
    /// half as large, so that a full partition keeps at least half of what it may.
    pub max_bytes: Option<u64>,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Bytes that may wait in the queue of the writer before [`crate::Partition::enqueue`] waits. Fixed at
    /// opening.
    pub queue_bytes: usize,
    /// Bytes of the newest batches kept in memory for those who read at the end. Fixed at opening.
    pub tail_bytes: usize,
    /// The epoch that batches are stored with.
    pub leader_epoch: i32,
    /// Who says what is committed.
    pub commit: Commit,
    /// Where a log that is made at opening begins; one that is there begins where it does.
    pub first_offset: i64,
}

impl Config {
    /// Smallest segment.
    pub const LEAST_SEGMENT_BYTES: u64 = 1024;
    /// Largest segment: positions in a segment are kept in 32 bits.
    pub const MOST_SEGMENT_BYTES: u64 = 2 << 30;

    /// The segment size in force.
    pub fn effective_segment_bytes(&self) -> u64 {
        let half = self.max_bytes.map_or(u64::MAX, |max| max / 2);
        self.segment_bytes.min(half).clamp(Self::LEAST_SEGMENT_BYTES, Self::MOST_SEGMENT_BYTES)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            retention: None,
            max_bytes: None,
            durability: Durability::Disk,
            queue_bytes: 8 << 20,
            tail_bytes: 512 << 10,
            leader_epoch: 0,
            commit: Commit::Alone,
            first_offset: 0,
        }
    }
}
