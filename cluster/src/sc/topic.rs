//! What a topic is: the part of it that clients choose. The same types are what the metadata store keeps on
//! disk and what SPUs are told, so they name nothing of the wire.

use serde::{Deserialize, Serialize};

/// The system topic that holds consumer offsets; the published client looks for it by this name.
pub const CONSUMER_OFFSETS: &str = "consumer-offset";

const DAY: u32 = 24 * 60 * 60;
const DEFAULT_RETENTION_SECONDS: u32 = 7 * DAY;
const DEFAULT_SEGMENT_BYTES: u32 = 1 << 30;
const DEFAULT_PARTITION_BYTES: u64 = 100 << 30;

/// What a client asked for when it created the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// How many partitions, and where.
    pub replicas: Replicas,
    /// Everything else: equal for all partitions.
    pub options: TopicOptions,
}

/// How many partitions, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replicas {
    /// The SC places them.
    Computed {
        /// Number of partitions.
        partitions: u32,
        /// Copies of each.
        replication_factor: u32,
        /// Accepted for upstream's sake; racks are not told apart.
        ignore_rack: bool,
    },
    /// The client placed them: the SPU ids of each partition, the leader first.
    Assigned(Vec<Vec<i32>>),
}

impl Replicas {
    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        match self {
            Self::Computed { partitions, .. } => *partitions,
            Self::Assigned(map) => u32::try_from(map.len()).unwrap_or(u32::MAX),
        }
    }

    /// Copies of each partition.
    pub fn replication_factor(&self) -> u32 {
        match self {
            Self::Computed { replication_factor, .. } => *replication_factor,
            Self::Assigned(map) => {
                map.first().map_or(0, |spus| u32::try_from(spus.len()).unwrap_or(u32::MAX))
            }
        }
    }
}

/// What holds for every partition of a topic. `None` is upstream's default, shown as unset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicOptions {
    /// Age after which a closed segment may go.
    pub retention_seconds: Option<u32>,
    /// Bytes of one segment.
    pub segment_bytes: Option<u32>,
    /// Bytes of one partition.
    pub partition_bytes: Option<u64>,
    /// Which codecs a producer may use.
    pub compression: Compression,
    /// Made by the SC itself, and deleted only by force.
    pub system: bool,
}

/// Which codecs a producer may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Uncompressed batches only.
    None,
    /// Gzip only.
    Gzip,
    /// Snappy only.
    Snappy,
    /// Lz4 only.
    Lz4,
    /// Whatever the producer chooses.
    #[default]
    Any,
    /// Zstd only.
    Zstd,
}

impl TopicSpec {
    /// The system topic as upstream shows it.
    pub fn consumer_offsets() -> Self {
        Self {
            replicas: Replicas::Computed { partitions: 1, replication_factor: 1, ignore_rack: false },
            options: TopicOptions {
                retention_seconds: Some(DEFAULT_RETENTION_SECONDS),
                segment_bytes: Some(512_000_000),
                partition_bytes: Some(2_000_000_000),
                compression: Compression::Any,
                system: true,
            },
        }
    }
}

impl TopicOptions {
    /// The age in force; `None` keeps records for ever. Consumer offsets have no age limit whatever the spec
    /// shows: a consumer that comes back after a long pause must find its place again.
    pub fn retention_in_force(&self) -> Option<u32> {
        if self.system { None } else { Some(self.retention_seconds.unwrap_or(DEFAULT_RETENTION_SECONDS)) }
    }

    /// The segment size in force.
    pub fn segment_bytes_in_force(&self) -> u32 {
        self.segment_bytes.unwrap_or(DEFAULT_SEGMENT_BYTES)
    }

    /// The partition size in force.
    pub fn partition_bytes_in_force(&self) -> u64 {
        self.partition_bytes.unwrap_or(DEFAULT_PARTITION_BYTES)
    }
}
