//! Cutting a copy's end off: what its former leader wrote and the present one does not have.
//!
//! The newest segments go first, one by one, so that after a crash what is left has no hole. In the segment that
//! stays, the index's mark is set back before the file is cut: a mark beyond the file's end is taken for damage.

use std::io;

use super::Log;
use crate::error::{AppendError, OpenError, TruncateError};
use crate::segment::index::{Index, Mark};
use crate::segment::{OpenSegment, ReadFailure, Segment};

impl Log {
    /// Removes every batch that holds `to` or begins behind it; returns where the log ends then. Committed records
    /// are never removed.
    pub(crate) fn truncate(&mut self, to: i64) -> Result<i64, TruncateError> {
        self.view.check_writable()?;
        let offsets = self.view.offsets();
        if to >= self.active.next_offset {
            return Ok(self.active.next_offset);
        }
        if to < offsets.hw.max(offsets.log_start) {
            return Err(TruncateError::Committed { hw: offsets.hw });
        }
        let before = self.view.size();
        self.view.count_cut();
        let cut = self.cut_back(to);
        self.view.count_cut();
        self.store.quota.give_back(before.saturating_sub(self.view.size()));
        match cut {
            Ok(end) => Ok(end),
            Err(error) => Err(self.fail("cutting the log back", &error).into()),
        }
    }

    fn cut_back(&mut self, to: i64) -> io::Result<i64> {
        // Readers must not wait for records that go.
        self.view.tail().restart(to);
        while let Some(newest) = self.view.pop_newest(to) {
            newest.set_active(None);
            self.store.disk.remove(newest.log_path())?;
            self.store.disk.sync_dir(&self.folder)?;
            // An index without its log is removed at the next opening at the latest.
            self.store.disk.remove(&newest.index_path()).ok();
        }
        *self.view.opened() = None;
        let last = self.view.newest().ok_or(io::ErrorKind::NotFound)?;
        last.set_active(None);
        if to < last.next_offset() {
            self.cut_segment(&last, to)?;
        }
        self.active =
            super::recover::open_active(&self.store, &self.folder, last.base()).map_err(unopened)?;
        let end = self.active.next_offset;
        self.view.replace_newest(std::sync::Arc::clone(&self.active.segment));
        self.view.tail().restart(end);
        self.view.publish_leo(end);
        self.view.publish_durable(end);
        Ok(end)
    }

    fn cut_segment(&self, last: &Segment, to: i64) -> io::Result<()> {
        let log = self.store.disk.open(last.log_path())?;
        let index = Index::open(&*self.store.disk, &last.index_path(), last.base());
        let open = OpenSegment { identity: last.identity(), log, index };
        let (position, offset) = open.place(to, last.len()).map_err(unread)?;
        match &open.index {
            Some(index) => {
                // Before the mark, which says that what is before it is on disk.
                open.log.sync_data()?;
                let mark = Mark { len: position, next_offset: offset, last_append_ms: last.last_append_ms() };
                index.set_mark(mark)?;
                index.sync()?;
            }
            None => self.remove_index(last)?,
        }
        open.log.truncate(position)?;
        open.log.sync_data()
    }

    /// An index that cannot be read now may be read later, with its mark behind the log's end then.
    fn remove_index(&self, of: &Segment) -> io::Result<()> {
        match self.store.disk.remove(&of.index_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        self.store.disk.sync_dir(&self.folder)
    }
}

fn unread(failure: ReadFailure) -> io::Error {
    match failure {
        ReadFailure::Io(error) => error,
        ReadFailure::Damaged { reason, .. } => io::Error::new(io::ErrorKind::InvalidData, reason),
    }
}

fn unopened(error: OpenError) -> io::Error {
    match error {
        OpenError::Io { source, .. } => source,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

impl From<AppendError> for TruncateError {
    fn from(error: AppendError) -> Self {
        Self::NotNow(error)
    }
}
