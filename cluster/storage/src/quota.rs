//! How many bytes a tenant may keep on this SPU, and how many the host keeps for itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::error::Full;

/// The disk is asked for its free space at most this often...
const SAMPLE_AGE: Duration = Duration::from_millis(100);
/// ...or each time this much was taken since.
const SAMPLE_BYTES: u64 = 16 << 20;

/// Counts the bytes of all partitions of one SPU and says whether more fit. What is counted is the length of
/// the log files, exactly.
pub struct Quota {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    limit: AtomicU64,
    reserve: AtomicU64,
    used: AtomicU64,
    sample: Mutex<Option<Sample>>,
}

struct Sample {
    taken: Instant,
    free: u64,
    admitted_since: u64,
}

impl Quota {
    /// For the disk that holds `path`. `u64::MAX` as limit and 0 as reserve switch the checks off.
    pub fn new(disk: Arc<dyn Disk>, path: impl Into<PathBuf>, limit: u64, reserve: u64) -> Self {
        Self {
            disk,
            path: path.into(),
            limit: AtomicU64::new(limit),
            reserve: AtomicU64::new(reserve),
            used: AtomicU64::new(0),
            sample: Mutex::new(None),
        }
    }

    /// Changes what the tenant may use; acts on the next append. What is over stays readable.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Changes what the host keeps free.
    pub fn set_reserve(&self, reserve: u64) {
        self.reserve.store(reserve, Ordering::Relaxed);
    }

    /// Bytes in use by all partitions.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// What the tenant may use.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Takes the bytes if they fit; they count as used from here on.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Full> {
        let limit = self.limit();
        let take = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|used| Full::Quota { limit, used })?;
        self.check_reserve(bytes).inspect_err(|_| self.give_back(bytes))
    }

    /// Counts bytes that are there in any case: found at opening, or a file's header.
    pub(crate) fn count(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that are gone, or were never written.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether the host has room for so many bytes more, whoever they belong to.
    pub(crate) fn check_reserve(&self, bytes: u64) -> Result<(), Full> {
        let reserve = self.reserve.load(Ordering::Relaxed);
        if reserve == 0 {
            return Ok(());
        }
        let mut guard = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let stale =
            |sample: &Sample| sample.taken.elapsed() > SAMPLE_AGE || sample.admitted_since > SAMPLE_BYTES;
        if guard.as_ref().is_none_or(stale) {
            *guard = match self.disk.free_space(&self.path) {
                Ok(free) => Some(Sample { taken: Instant::now(), free, admitted_since: 0 }),
                Err(error) => {
                    // The write itself will say whether there is room.
                    tracing::warn!(%error, "cannot read the free space of the disk");
                    None
                }
            };
        }
        let Some(sample) = guard.as_mut() else { return Ok(()) };
        let free = sample.free.saturating_sub(sample.admitted_since);
        if free < reserve.saturating_add(bytes) {
            return Err(Full::Reserve { free, reserve });
        }
        sample.admitted_since += bytes;
        Ok(())
    }
}
