//! The log of one partition: segments behind one another, appended to by one writer, read by many.
//!
//! Everything here blocks. [`Log`] is the writer's, [`View`] is what readers share with it.

mod read;
mod recover;
mod repair;
mod retention;
mod scrub;
#[cfg(feature = "simulated")]
mod stepped;
mod tail;
mod truncate;
mod view;
mod write;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use repair::Rewriting;
pub(crate) use scrub::Seen;
pub use scrub::{Damage, Scrubbed};
#[cfg(feature = "simulated")]
pub use stepped::SteppedLog;
pub(crate) use view::View;
pub(crate) use write::{Log, Origin};

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high-water mark: what will not be lost.
    Committed,
    /// Up to the log end offset: also what is not durable yet.
    Uncommitted,
}

/// Where a log starts and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset that is there.
    pub log_start: i64,
    /// Log end offset: the next one to be given.
    pub leo: i64,
    /// High-water mark: all before it is committed.
    pub hw: i64,
}

/// Whole batches, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The batches, behind one another, as they go over the wire.
    pub bytes: Bytes,
    /// Offset of the first record in `bytes`; it may be before the offset asked for, which lies in its batch.
    pub base_offset: i64,
    /// Where to read on: behind the last record in `bytes`, or the offset asked for if there is none.
    pub next_offset: i64,
    /// The log's offsets at the time of the read.
    pub offsets: Offsets,
}

/// Whether a partition takes appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// The disk failed; reads go on. Close and open it again to recover.
    ReadOnly {
        /// What failed, for a person.
        reason: Arc<str>,
    },
    /// Closed; may be opened again.
    Closed,
    /// Gone for good.
    Deleted,
}
