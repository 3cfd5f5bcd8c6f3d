//! Errors, one type per thing a caller does, each variant a different reaction of the caller.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why there is no room. All three pass by themselves when space comes back; nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The tenant has used what it may use on this SPU.
    #[error("the cluster's storage limit of {limit} bytes is reached ({used} in use)")]
    Quota {
        /// What the tenant may use.
        limit: u64,
        /// What it uses now.
        used: u64,
    },
    /// The host keeps some bytes free for everyone's sake.
    #[error("the host has {free} bytes free and keeps {reserve} in reserve")]
    Reserve {
        /// Free bytes on the disk when last looked.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// The file system itself said so.
    #[error("the disk is full")]
    Disk,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room; nothing of this append is stored. Try again later.
    #[error(transparent)]
    Full(#[from] Full),
    /// A leader's batch that does not follow on what is here. Nothing of it is stored.
    #[error("offset {expected} comes next and {found} was sent")]
    OutOfOrder {
        /// The log end offset.
        expected: i64,
        /// Of the first batch that does not fit.
        found: i64,
    },
    /// A batch that can never fit; the client must send smaller ones.
    #[error("a batch of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The batch's size.
        bytes: u64,
        /// The largest that fits.
        limit: u64,
    },
    /// The disk failed. Nothing more is acknowledged until the partition is closed and opened again. What was
    /// in flight may or may not be in the log afterwards.
    #[error("the partition is read-only: {reason}")]
    ReadOnly {
        /// What failed, for a person.
        reason: Arc<str>,
    },
    /// Another epoch is in force than it was to be stored in. Nothing of it is stored.
    #[error("another epoch is in force")]
    OtherEpoch,
    /// Closed or deleted meanwhile.
    #[error("the partition is closed")]
    Closed,
}

/// Why a copy was not cut back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TruncateError {
    /// Records before the high-water mark are nobody's to remove.
    #[error("records up to {hw} are committed and stay")]
    Committed {
        /// The high-water mark.
        hw: i64,
    },
    /// The partition takes no changes.
    #[error(transparent)]
    NotNow(AppendError),
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The offset was removed by retention; `next` is the first that is still there.
    #[error("the offset was removed by retention; the log now starts at {next}")]
    Evicted {
        /// The first offset of the log.
        next: i64,
    },
    /// The offset is beyond the end of the log (or negative).
    #[error("the offset is outside of the log, which ends at {end}")]
    OutOfRange {
        /// The log end offset.
        end: i64,
    },
    /// What is on disk is not what was written. Offsets behind the damage may still be readable.
    #[error("damaged data: {0}")]
    Corrupt(Corruption),
    /// The disk did not answer.
    #[error("reading failed: {reason}")]
    Io {
        /// What the system said.
        reason: Arc<str>,
    },
    /// Closed or deleted meanwhile.
    #[error("the partition is closed")]
    Closed,
}

/// Why damage was not mended. The file is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// Retention took the segment, or the partition is closed: there is nothing to mend here any more.
    #[error("the damaged segment is not a part of the log any more")]
    Gone,
    /// What was brought is not what was there. Another copy may have it.
    #[error("another copy's batches do not fit: {0}")]
    OtherBatches(String),
    /// The disk has no room or fails; worth another try later.
    #[error("a segment cannot be written anew: {reason}")]
    NotNow {
        /// What failed, for a person.
        reason: Arc<str>,
    },
}

/// Why a partition or a document could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Acknowledged bytes are missing or damaged. Never repaired silently: restore from a replica or a backup.
    #[error("damaged data: {0}")]
    Corrupt(Corruption),
    /// Written by a newer build.
    #[error("{file} has format version {version}; this build knows up to {known}")]
    Incompatible {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
        /// The newest known here.
        known: u32,
    },
    /// The disk did not answer, or has no room; worth another try.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// For `map_err`: keeps which file it was.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Where stored bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {position}: {reason}", file.display())]
pub struct Corruption {
    /// The file.
    pub file: PathBuf,
    /// Byte in the file.
    pub position: u64,
    /// What is wrong.
    pub reason: String,
}
