//! What SPUs say to each other.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::link::PartitionKey;

/// A partition as both sides must mean it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Its name.
    pub key: PartitionKey,
    /// Its incarnation.
    pub topic_id: Uuid,
}

/// The first parcel of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Everything from a position on, as it comes; answered by [`Fed`] without end.
    Follow(Follow),
    /// Store a producer's batches, which are the payload; answered by one [`Answer::Stored`].
    Produce {
        /// Where.
        key: PartitionKey,
        /// How long to wait for the copies, in milliseconds.
        patience_ms: u64,
    },
    /// Batches from an offset on, once there are some; answered by one [`Answer::Slice`].
    Read(Read),
    /// Committed batches as this copy has them, whoever leads, for one whose own are damaged; answered by one
    /// [`Answer::Slice`], or refused where this copy has none or is damaged, too.
    Copied(Copied),
    /// Where the partition begins and ends; answered by one [`Answer::Offsets`].
    Offsets {
        /// Which.
        key: PartitionKey,
    },
}

/// A copy that wants to follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// The follower.
    pub spu: i32,
    /// What it follows.
    pub placed: Placed,
    /// The leader's epoch as the follower knows it.
    pub epoch: u32,
    /// Where its log ends.
    pub position: i64,
    /// Epoch of its last record; none if it has none.
    pub last_epoch: Option<i32>,
}

/// What a consumer at another SPU wants next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Where.
    pub key: PartitionKey,
    /// Which incarnation of the topic; none is any.
    #[serde(default)]
    pub topic_id: Option<Uuid>,
    /// From.
    pub from: i64,
    /// Bytes of batches, at least one batch.
    pub max_bytes: usize,
    /// Committed records only.
    pub committed: bool,
    /// How long to wait for some, in milliseconds.
    pub patience_ms: u64,
}

/// What one copy wants of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Of which partition.
    pub placed: Placed,
    /// From the batch that holds this offset on.
    pub from: i64,
    /// Bytes of batches, at least one batch.
    pub max_bytes: usize,
}

/// From a follower, behind its [`Follow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// All before it is durable there.
    pub durable: i64,
}

/// From a leader to a follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fed {
    /// The payload goes on where the follower is, all batches of one epoch; empty if only the mark moved.
    Batches {
        /// The leader's high-water mark.
        hw: i64,
        /// First offset of the leader's log.
        #[serde(default)]
        log_start: i64,
        /// Where the leader's epoch begins; leaders of an older release do not say.
        #[serde(default)]
        epoch_start: Option<i64>,
    },
    /// The follower has what the leader does not: it cuts back to `end`, or to where its own records of epochs up to
    /// this one end if that is earlier, and asks again. Ends the stream.
    Diverged {
        /// The newest epoch up to the follower's that the leader has.
        epoch: i32,
        /// Where that one ends.
        end: i64,
    },
    /// What the follower needs is not there any more: it begins anew with what is. Ends the stream.
    TooOld {
        /// First offset of the leader's log.
        log_start: i64,
    },
    /// This SPU does not lead the partition, or not in that epoch. Ends the stream.
    NotLeader,
}

/// The answer to everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Stored and, as far as was waited for, committed.
    Stored {
        /// Offset of the first record.
        base_offset: i64,
        /// First offset of the log.
        log_start: i64,
    },
    /// The payload is whole batches; empty if there were none in time.
    Slice {
        /// Where to read on.
        next_offset: i64,
        /// First offset of the log.
        log_start: i64,
        /// High-water mark.
        hw: i64,
    },
    /// Where it begins and ends.
    Offsets {
        /// First offset of the log.
        log_start: i64,
        /// High-water mark.
        hw: i64,
    },
    /// Not done.
    Refused(Refused),
}

/// Why a leader did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It does not lead the partition, or not in that epoch; nothing was done.
    NotLeader,
    /// The client's fault or the disk's: the bytes of upstream's error code, to be passed on.
    Code(Vec<u8>),
}
