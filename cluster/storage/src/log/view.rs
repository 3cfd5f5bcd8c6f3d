//! What readers share with the writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::tail::Tail;
use super::{Isolation, Offsets, State};
use crate::disk::Disk;
use crate::error::{AppendError, ReadError};
use crate::segment::{OpenSegment, Segment};

/// The readers' side of a log. The writer changes it in an order that keeps every moment right for them: bytes
/// are in the file before a segment's length covers them, the length before the log end offset.
pub(crate) struct View {
    pub(super) disk: Arc<dyn Disk>,
    segments: RwLock<VecDeque<Arc<Segment>>>,
    tail: Mutex<Tail>,
    /// The closed segment read last, so that a reader who goes through it does not open it each time.
    opened: Mutex<Option<Arc<OpenSegment>>>,
    log_start: AtomicI64,
    batch_limit: AtomicU64,
    leo: watch::Sender<i64>,
    hw: watch::Sender<i64>,
    state: watch::Sender<State>,
}

impl View {
    /// For segments as recovered, all their content durable. There is at least one, the last being active.
    pub(super) fn new(disk: Arc<dyn Disk>, segments: VecDeque<Arc<Segment>>, tail_bytes: usize) -> Self {
        let log_start = segments.front().map_or(0, |segment| segment.base());
        let leo = segments.back().map_or(0, |segment| segment.next_offset());
        Self {
            disk,
            segments: RwLock::new(segments),
            tail: Mutex::new(Tail::new(tail_bytes, leo)),
            opened: Mutex::new(None),
            log_start: AtomicI64::new(log_start),
            batch_limit: AtomicU64::new(0),
            leo: watch::Sender::new(leo),
            hw: watch::Sender::new(leo),
            state: watch::Sender::new(State::Open),
        }
    }

    pub(crate) fn offsets(&self) -> Offsets {
        // hw before leo: so that a moment in between never shows a hw beyond the leo.
        let hw = *self.hw.borrow();
        let leo = *self.leo.borrow();
        Offsets { log_start: self.log_start.load(Ordering::Acquire), leo, hw }
    }

    pub(crate) fn watch_leo(&self) -> watch::Receiver<i64> {
        self.leo.subscribe()
    }

    pub(crate) fn watch_hw(&self) -> watch::Receiver<i64> {
        self.hw.subscribe()
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn watch_state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn size(&self) -> u64 {
        self.read_segments(|segments| segments.iter().map(|segment| segment.len()).sum())
    }

    /// The largest batch that is taken.
    pub(crate) fn batch_limit(&self) -> u64 {
        self.batch_limit.load(Ordering::Relaxed)
    }

    pub(crate) fn check_writable(&self) -> Result<(), AppendError> {
        match &*self.state.borrow() {
            State::Open => Ok(()),
            State::ReadOnly { reason } => Err(AppendError::ReadOnly { reason: Arc::clone(reason) }),
            State::Closed | State::Deleted => Err(AppendError::Closed),
        }
    }

    /// The end for a reader of this isolation, if `from` is an offset of the log.
    pub(super) fn check_readable(
        &self,
        from: i64,
        isolation: Isolation,
    ) -> Result<(Offsets, i64), ReadError> {
        if matches!(&*self.state.borrow(), State::Closed | State::Deleted) {
            return Err(ReadError::Closed);
        }
        let offsets = self.offsets();
        if from < 0 || from > offsets.leo {
            return Err(ReadError::OutOfRange { end: offsets.leo });
        }
        if from < offsets.log_start {
            return Err(ReadError::Evicted { next: offsets.log_start });
        }
        let end = match isolation {
            Isolation::Committed => offsets.hw,
            Isolation::Uncommitted => offsets.leo,
        };
        Ok((offsets, end))
    }

    pub(super) fn set_batch_limit(&self, limit: u64) {
        self.batch_limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn publish_leo(&self, leo: i64) {
        self.leo.send_replace(leo);
    }

    pub(super) fn publish_hw(&self, hw: i64) {
        self.hw.send_if_modified(|current| std::mem::replace(current, hw) != hw);
    }

    /// Moves to another state; the final ones stay.
    pub(crate) fn enter(&self, state: State) {
        self.state.send_if_modified(|current| {
            let stays = *current == State::Deleted || (*current == State::Closed && state != State::Deleted);
            if !stays {
                *current = state;
            }
            !stays
        });
    }

    pub(super) fn read_segments<T>(&self, look: impl FnOnce(&VecDeque<Arc<Segment>>) -> T) -> T {
        look(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the new active segment; it may stand in for an empty one of the same base offset.
    pub(super) fn push_segment(&self, segment: Arc<Segment>, replaces_last: bool) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if replaces_last {
            segments.pop_back();
        }
        segments.push_back(segment);
    }

    /// Takes the oldest segment out; from here on no reader finds it.
    pub(super) fn pop_segment(&self) -> Option<Arc<Segment>> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if segments.len() < 2 {
            return None;
        }
        let oldest = segments.pop_front();
        if let Some(first) = segments.front() {
            self.log_start.store(first.base(), Ordering::Release);
        }
        oldest
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self) -> MutexGuard<'_, Option<Arc<OpenSegment>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
