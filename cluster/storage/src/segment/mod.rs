//! One segment: a log file and its index.
//!
//! `<first offset, 20 digits>.log` (big endian numbers):
//! ```text
//! byte  0  magic        8 bytes  "FLVLOG\r\n"
//!       8  version      u32      1
//!      12  base offset  i64      as in the name
//!      20  created      i64      ms since 1970
//!      28  leader epoch i32      of every batch in it: another epoch begins another segment
//!      32  checksum     u32      crc32c of bytes 0-31
//!      36  batches, as they came, with base offset and leader epoch put in
//! ```
//! The wire's checksum does not cover a batch's offset and epoch. The log knows both (offsets follow one
//! another, the epoch is the segment's), so a flipped bit there is found as well.
//! A log file gets its name only once its header is synced, so a named one without a whole header is damage.
//! The index beside it is described in [`index`].

mod header;
pub(crate) mod index;
mod look;
mod reader;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

pub(crate) use header::{CreateError, HEADER_BYTES, Identity, create, encode, open};
pub(crate) use look::{Place, Rot};
pub(crate) use reader::{OpenSegment, ReadFailure};
pub(crate) use scan::{Scanned, scan};

use crate::disk::File;

/// What is known of a segment without opening it.
pub(crate) struct Segment {
    identity: Identity,
    log_path: PathBuf,
    next_offset: AtomicI64,
    /// Bytes of the log file that hold whole batches.
    len: AtomicU64,
    last_append_ms: AtomicI64,
    /// How often its file was replaced by a whole one.
    replaced: AtomicU32,
    /// The files, while the writer has them open anyway.
    active: std::sync::Mutex<Option<Arc<OpenSegment>>>,
}

impl Segment {
    pub(crate) fn new(folder: &Path, identity: Identity) -> Self {
        Self {
            identity,
            log_path: folder.join(log_name(identity.base)),
            next_offset: AtomicI64::new(identity.base),
            len: AtomicU64::new(HEADER_BYTES as u64),
            last_append_ms: AtomicI64::new(identity.created_ms),
            replaced: AtomicU32::new(0),
            active: std::sync::Mutex::new(None),
        }
    }

    pub(crate) fn base(&self) -> i64 {
        self.identity.base
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn log_path(&self) -> &Path {
        &self.log_path
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.log_path.with_extension("index")
    }

    pub(crate) fn created_ms(&self) -> i64 {
        self.identity.created_ms
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset.load(Ordering::Acquire)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn last_append_ms(&self) -> i64 {
        self.last_append_ms.load(Ordering::Relaxed)
    }

    /// How often its file was replaced.
    pub(crate) fn replaced(&self) -> u32 {
        self.replaced.load(Ordering::Acquire)
    }

    /// Another file has its name now: who opened the former one keeps it to himself.
    pub(crate) fn count_replaced(&self) {
        self.replaced.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next_offset() == self.base()
    }

    /// Makes written batches visible to readers (who look at the log end offset first).
    pub(crate) fn extend(&self, len: u64, next_offset: i64, append_ms: i64) {
        self.last_append_ms.store(append_ms, Ordering::Relaxed);
        self.next_offset.store(next_offset, Ordering::Release);
        self.len.store(len, Ordering::Release);
    }

    /// The files, if the writer has them open.
    pub(crate) fn active(&self) -> Option<Arc<OpenSegment>> {
        self.active.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_active(&self, open: Option<Arc<OpenSegment>>) {
        *self.active.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = open;
    }
}

/// A segment's log file name.
pub(crate) fn log_name(base: i64) -> String {
    format!("{base:020}.log")
}

/// The base offset in a log file's name; none for any other file.
pub(crate) fn parse_log_name(name: &str) -> Option<i64> {
    let base = name.strip_suffix(".log")?.parse().ok()?;
    (base >= 0 && log_name(base) == name).then_some(base)
}

/// A log file with its header read.
pub(crate) struct LogFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) identity: Identity,
    /// Bytes of the whole file.
    pub(crate) len: u64,
}
