//! What readers share with the writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::tail::Tail;
use super::{Isolation, Offsets, State};
use crate::config::{Commit, Config};
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
    durable: watch::Sender<i64>,
    hw: watch::Sender<i64>,
    /// Whether this copy is the only one.
    alone: AtomicBool,
    /// Odd while the log's end is cut off: what a reader without a lock finds then is no damage.
    cuts: AtomicU64,
    state: watch::Sender<State>,
}

impl View {
    /// For segments as recovered, all their content durable. There is at least one, the last being active.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        segments: VecDeque<Arc<Segment>>,
        config: &Config,
        committed: i64,
    ) -> Self {
        let log_start = segments.front().map_or(0, |segment| segment.base());
        let leo = segments.back().map_or(0, |segment| segment.next_offset());
        Self {
            disk,
            segments: RwLock::new(segments),
            tail: Mutex::new(Tail::new(config.tail_bytes, leo)),
            opened: Mutex::new(None),
            log_start: AtomicI64::new(log_start),
            batch_limit: AtomicU64::new(0),
            leo: watch::Sender::new(leo),
            durable: watch::Sender::new(leo),
            hw: watch::Sender::new(committed),
            alone: AtomicBool::new(config.commit == Commit::Alone),
            cuts: AtomicU64::new(0),
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

    pub(crate) fn watch_durable(&self) -> watch::Receiver<i64> {
        self.durable.subscribe()
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

    /// All before `end` survives here; a copy that is the only one has committed it with that.
    pub(super) fn publish_durable(&self, end: i64) {
        self.durable.send_if_modified(|current| std::mem::replace(current, end) != end);
        self.hw.send_if_modified(|hw| {
            let moves = self.alone.load(Ordering::Relaxed) && *hw != end;
            if moves {
                *hw = end;
            }
            moves
        });
    }

    /// Another one says from now on what is committed: once this returns, the former one says nothing more.
    pub(crate) fn set_commit(&self, commit: Commit) {
        // Only ever looked at under the mark's lock, so that no mark is set by a word that is over, nor one passed over.
        self.hw.send_if_modified(|hw| {
            let durable = *self.durable.borrow();
            let alone = commit == Commit::Alone;
            let moves = !self.alone.swap(alone, Ordering::Relaxed) && alone && *hw < durable;
            if moves {
                *hw = durable;
            }
            moves
        });
    }

    /// All before `hw` is committed, as far as it is here. It never goes back.
    pub(crate) fn commit(&self, hw: i64) {
        let hw = hw.min(*self.leo.borrow());
        self.hw.send_if_modified(|current| {
            let forward = hw > *current;
            *current = hw.max(*current);
            forward
        });
    }

    /// The mark to be noted, where somebody told one.
    pub(super) fn told(&self) -> Option<i64> {
        let hw = self.hw.borrow();
        (!self.alone.load(Ordering::Relaxed)).then_some(*hw)
    }

    /// Epoch of the record before an offset; none where the log begins.
    pub(crate) fn epoch_before(&self, offset: i64) -> Option<i32> {
        self.read_segments(|segments| {
            let before = segments.iter().rev().find(|segment| segment.base() < offset);
            before.filter(|segment| !segment.is_empty()).map(|segment| segment.identity().leader_epoch)
        })
    }

    /// The newest epoch in the log up to this one, and the offset behind its last record; none if all are newer.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.read_segments(|segments| {
            let mut found = segments.iter().rev().filter(|segment| !segment.is_empty());
            let last = found.find(|segment| segment.identity().leader_epoch <= epoch)?;
            Some((last.identity().leader_epoch, last.next_offset()))
        })
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

    /// Takes the newest segment out if it begins at `to` or behind it and is not the only one.
    pub(super) fn pop_newest(&self, to: i64) -> Option<Arc<Segment>> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let goes = segments.len() > 1 && segments.back().is_some_and(|newest| newest.base() >= to);
        if goes { segments.pop_back() } else { None }
    }

    /// The newest segment.
    pub(super) fn newest(&self) -> Option<Arc<Segment>> {
        self.read_segments(|segments| segments.back().cloned())
    }

    /// Puts another account of the newest segment in its place.
    pub(super) fn replace_newest(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.pop_back();
        segments.push_back(segment);
    }

    /// Counts that a cut begins, and that it ended.
    pub(super) fn count_cut(&self) {
        self.cuts.fetch_add(1, Ordering::AcqRel);
    }

    /// Another number than before if the log's end was cut off meanwhile; none while it is.
    pub(super) fn cuts(&self) -> Option<u64> {
        Some(self.cuts.load(Ordering::Acquire)).filter(|cuts| cuts % 2 == 0)
    }

    /// Whether this segment is a part of the log, and whether it is closed.
    pub(super) fn holds(&self, segment: &Arc<Segment>) -> (bool, bool) {
        self.read_segments(|segments| {
            let there = segments.iter().any(|each| Arc::ptr_eq(each, segment));
            (there, there && segments.back().is_none_or(|newest| !Arc::ptr_eq(newest, segment)))
        })
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self) -> MutexGuard<'_, Option<Arc<OpenSegment>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
