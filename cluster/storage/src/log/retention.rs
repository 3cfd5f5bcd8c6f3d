//! Removing what is too old or too much. Only whole segments go, the oldest first.

use std::io;

use super::Log;
use crate::error::AppendError;
use crate::partition::Maintained;
use crate::segment::Segment;

impl Log {
    /// One pass: syncs what is not, removes what may go, gives memory back.
    pub(crate) fn maintain(&mut self) -> Result<Maintained, AppendError> {
        self.sync()?;
        self.note();
        self.view.tail().rest();
        *self.view.opened() = None;
        let now = self.store.clock.now_ms();
        let active = &self.active.segment;
        let aged = self.is_past(active.last_append_ms(), now) || self.is_past(active.created_ms(), now);
        if aged && !active.is_empty() {
            self.roll(self.active.segment.identity().leader_epoch)?;
        }
        self.remove_surplus(now, 0)
    }

    /// Begins another segment, and removes as much as it may grow to, so that the log never gets larger than
    /// it may be.
    pub(super) fn roll_and_make_room(&mut self, leader_epoch: i32) -> Result<(), AppendError> {
        self.roll(leader_epoch)?;
        let now = self.store.clock.now_ms();
        self.remove_surplus(now, self.config.effective_segment_bytes()).map(|_| ())
    }

    /// Removes closed segments while the oldest is too old or the log, with so much room in it, too large.
    fn remove_surplus(&mut self, now: i64, room: u64) -> Result<Maintained, AppendError> {
        let mut done = Maintained::default();
        while let Some(oldest) = self.oldest_closed() {
            let too_large = self.config.max_bytes.is_some_and(|max| self.view.size() + room > max);
            let committed = oldest.next_offset() <= self.view.offsets().hw;
            if !committed || !too_large && !self.is_past(oldest.last_append_ms(), now) {
                break;
            }
            self.remove(&oldest)?;
            done.removed_segments += 1;
            done.removed_bytes += oldest.len();
        }
        Ok(done)
    }

    /// Removes closed segments that end at `before` or earlier.
    pub(crate) fn let_go(&mut self, before: i64) {
        while let Some(oldest) = self.oldest_closed() {
            if oldest.next_offset() > before.min(self.view.offsets().hw) || self.remove(&oldest).is_err() {
                // A disk that failed has made the partition read-only.
                return;
            }
        }
    }

    fn oldest_closed(&self) -> Option<std::sync::Arc<Segment>> {
        self.view.read_segments(|segments| segments.front().filter(|_| segments.len() > 1).cloned())
    }

    fn is_past(&self, append_ms: i64, now: i64) -> bool {
        let Some(retention) = self.config.retention else { return false };
        let kept = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        append_ms.saturating_add(kept) < now
    }

    /// Readers that hold the files read on; others hear that the offset is evicted.
    fn remove(&self, oldest: &Segment) -> Result<(), AppendError> {
        let disk = &self.store.disk;
        self.view.pop_segment();
        self.store.quota.give_back(oldest.len());
        // Synced one by one: were a later one gone and an earlier one still there after a power cut, that
        // would look like a hole.
        let removed = match disk.remove(oldest.log_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => disk.sync_dir(&self.folder),
        };
        removed.map_err(|error| self.fail("removing an old segment", &error))?;
        // An index without its log is removed at the next opening at the latest.
        disk.remove(&oldest.index_path()).ok();
        Ok(())
    }
}
