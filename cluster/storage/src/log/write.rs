//! The writer's side of a log: groups of appends, each written at once and synced once.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;

use super::{State, View};
use crate::batch::{Batch, PATCH_BYTES};
use crate::config::{Config, Durability};
use crate::disk::is_out_of_space;
use crate::error::{AppendError, Full, OpenError};
use crate::partition::Appended;
use crate::segment::index::{Entry, Index, Mark, SPACING};
use crate::segment::{self, CreateError, HEADER_BYTES, Identity, OpenSegment, Segment};
use crate::store::Store;

/// Takes the outcome of the append of this number in its group. It is called as soon as it is known: a
/// success only after the sync.
pub(crate) type Answer<'a> = &'a mut dyn FnMut(usize, Result<Appended, AppendError>);

/// Who gave batches their offsets and epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody yet: a producer sent them to this leader.
    Producer,
    /// Nobody yet, and this leader took them in this epoch.
    LedIn(i32),
    /// The leader of which this is a copy, followed in this epoch; all are of one epoch, perhaps an earlier one.
    FollowedIn(i32),
}

/// A log, open for writing. There is one per partition.
pub(crate) struct Log {
    pub(super) store: Store,
    pub(super) folder: PathBuf,
    pub(super) config: Config,
    pub(super) view: Arc<View>,
    pub(super) active: Active,
}

/// The segment that is written to.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) files: Arc<OpenSegment>,
    /// Length of the log file as far as it is whole.
    pub(super) written: u64,
    /// How much of it was synced.
    pub(super) synced: u64,
    pub(super) next_offset: i64,
    /// Entries in the index file.
    pub(super) entries: u64,
    /// Entries that wait for the next sync.
    pub(super) fresh_entries: Vec<Entry>,
    /// The first batch from here on gets an entry.
    pub(super) entry_due: u64,
}

/// Appends that will be written together.
#[derive(Default)]
struct Group<'a> {
    appends: Vec<Placed>,
    batches: Vec<(&'a Batch, [u8; PATCH_BYTES])>,
    bytes: u64,
}

/// Where an append of the group goes.
struct Placed {
    number: usize,
    base_offset: i64,
    next_offset: i64,
}

impl Log {
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// What it takes to remove this log.
    pub(crate) fn place(&self) -> (Store, PathBuf) {
        (self.store.clone(), self.folder.clone())
    }

    pub(crate) fn configure(&mut self, config: Config) {
        self.view.set_batch_limit(config.effective_segment_bytes());
        self.config = config;
    }

    /// Appends a group, in order. Every one is answered, exactly once.
    pub(crate) fn append(&mut self, appends: &[(&[Batch], Origin)], answer: Answer<'_>) {
        let mut group = Group::default();
        for (number, (batches, origin)) in appends.iter().enumerate() {
            let asked_in = match origin {
                Origin::Producer => None,
                Origin::LedIn(epoch) | Origin::FollowedIn(epoch) => Some(*epoch),
            };
            if asked_in.is_some_and(|epoch| epoch != self.config.leader_epoch) {
                answer(number, Err(AppendError::OtherEpoch));
                continue;
            }
            let bytes = batches.iter().map(|batch| batch.bytes().len() as u64).sum();
            if let Err(error) = self.admit(bytes) {
                answer(number, Err(error));
                continue;
            }
            let epoch = match origin {
                Origin::Producer | Origin::LedIn(_) => self.config.leader_epoch,
                Origin::FollowedIn(_) => batches.first().map_or(0, |batch| batch.header().leader_epoch),
            };
            if self.must_roll(&group, bytes, epoch) {
                self.commit(std::mem::take(&mut group), answer);
                if let Err(error) = self.roll_and_make_room(epoch) {
                    self.store.quota.give_back(bytes);
                    answer(number, Err(error));
                    continue;
                }
            }
            if let Err(error) = self.stage(&mut group, number, (batches, *origin), epoch) {
                self.store.quota.give_back(bytes);
                answer(number, Err(error));
            }
        }
        self.commit(group, answer);
    }

    /// Syncs what is written. After a failure nothing is acknowledged any more: the kernel forgets what it
    /// could not write, so a second sync that succeeds would prove nothing.
    pub(crate) fn sync(&mut self) -> Result<(), AppendError> {
        self.view.check_writable()?;
        if self.active.synced == self.active.written {
            return Ok(());
        }
        if let Err(error) = self.active.files.log.sync_data() {
            return Err(self.fail("syncing", &error));
        }
        self.active.synced = self.active.written;
        self.view.publish_durable(self.active.next_offset);
        Ok(())
    }

    /// Writes down in the index where batches are and, if all is synced, how far.
    pub(crate) fn note(&mut self) {
        let active = &mut self.active;
        let Some(index) = &active.files.index else { return };
        let mut noted =
            index.append(active.entries, &active.fresh_entries).map(|entries| active.entries = entries);
        active.fresh_entries.clear();
        if active.synced == active.written {
            let mark = Mark {
                len: active.synced,
                next_offset: active.next_offset,
                last_append_ms: active.segment.last_append_ms(),
            };
            noted = noted.and_then(|()| index.set_mark(mark));
        }
        if let Some(committed) = self.view.told() {
            noted = noted.and_then(|()| index.set_committed(committed));
        }
        if let Err(error) = noted {
            // Advice only: reads get slower, the next opening scans more.
            tracing::warn!(path = %active.segment.index_path().display(), %error, "cannot write the index");
        }
    }

    /// Closes the active segment and begins another, of this epoch.
    pub(super) fn roll(&mut self, leader_epoch: i32) -> Result<(), AppendError> {
        // A closed segment is wholly synced, whatever the durability: recovery looks for torn ends only in
        // the last one.
        self.sync()?;
        self.note();
        if let Some(index) = &self.active.files.index
            && let Err(error) = index.sync()
        {
            tracing::warn!(%error, "cannot sync the index");
        }
        let identity =
            Identity { base: self.active.next_offset, created_ms: self.store.clock.now_ms(), leader_epoch };
        let log = match segment::create(&*self.store.disk, &self.folder, identity) {
            Ok(log) => log,
            Err(CreateError::NotThere(error)) if is_out_of_space(&error) => return Err(Full::Disk.into()),
            // Were it there after a restart and the old segment had gone on, there would be a hole.
            Err(CreateError::NotThere(error) | CreateError::MaybeThere(error)) => {
                return Err(self.fail("beginning a segment", &error));
            }
        };
        let replaces_empty = self.active.segment.is_empty();
        self.active.segment.set_active(None);
        self.active = Active::begin(&self.store, &self.folder, identity, log);
        self.view.push_segment(Arc::clone(&self.active.segment), replaces_empty);
        if !replaces_empty {
            self.store.quota.count(HEADER_BYTES as u64);
        }
        Ok(())
    }

    /// Makes the partition read-only.
    pub(super) fn fail(&self, doing: &str, error: &io::Error) -> AppendError {
        let reason: Arc<str> = format!("{doing} failed: {error}").into();
        tracing::error!(folder = %self.folder.display(), %reason, "the partition is read-only from now on");
        self.view.enter(State::ReadOnly { reason: Arc::clone(&reason) });
        AppendError::ReadOnly { reason }
    }

    fn admit(&self, bytes: u64) -> Result<(), AppendError> {
        self.view.check_writable()?;
        Ok(self.store.quota.take(bytes)?)
    }

    fn must_roll(&self, group: &Group<'_>, bytes: u64, epoch: i32) -> bool {
        if bytes == 0 {
            return false;
        }
        let identity = self.active.segment.identity();
        if identity.leader_epoch != epoch {
            return true;
        }
        let end = group.appends.last().map_or(self.active.next_offset, |last| last.next_offset);
        let holds_some = end > identity.base;
        let too_large = self.active.written + group.bytes + bytes > self.config.effective_segment_bytes();
        let too_far = end - identity.base > i64::from(u32::MAX);
        holds_some && (too_large || too_far)
    }

    /// Gives an append its offsets, or checks those that it has. The group stays as it was if they do not fit.
    fn stage<'a>(
        &self,
        group: &mut Group<'a>,
        number: usize,
        (batches, origin): (&'a [Batch], Origin),
        epoch: i32,
    ) -> Result<(), AppendError> {
        let base_offset = group.appends.last().map_or(self.active.next_offset, |last| last.next_offset);
        let (had, mut next_offset) = (group.batches.len(), base_offset);
        for batch in batches {
            let found = batch.header().base_offset;
            if matches!(origin, Origin::FollowedIn(_))
                && (found, batch.header().leader_epoch) != (next_offset, epoch)
            {
                group.batches.truncate(had);
                return Err(AppendError::OutOfOrder { expected: next_offset, found });
            }
            let head = batch.patched_head(next_offset, epoch);
            group.batches.push((batch, head));
            let Some(next) = next_offset.checked_add(batch.header().records()) else {
                group.batches.truncate(had);
                return Err(AppendError::ReadOnly { reason: "the log has no offsets left".into() });
            };
            next_offset = next;
        }
        group.bytes += batches.iter().map(|batch| batch.bytes().len() as u64).sum::<u64>();
        group.appends.push(Placed { number, base_offset, next_offset });
        Ok(())
    }

    /// Writes, publishes, syncs, publishes again, answers: in this order.
    fn commit(&mut self, group: Group<'_>, answer: Answer<'_>) {
        if group.appends.is_empty() {
            return;
        }
        let append_time_ms = self.store.clock.now_ms();
        let done = self.write(&group, append_time_ms).and_then(|()| match self.config.durability {
            Durability::Disk => self.sync(),
            Durability::Memory => {
                self.view.publish_durable(self.active.next_offset);
                Ok(())
            }
        });
        let log_start = self.view.offsets().log_start;
        for Placed { number, base_offset, next_offset } in group.appends {
            let appended = Appended { base_offset, next_offset, log_start, append_time_ms };
            answer(number, done.clone().map(|()| appended));
        }
        if done.is_ok() {
            self.note();
        }
    }

    fn write(&mut self, group: &Group<'_>, append_time_ms: i64) -> Result<(), AppendError> {
        self.view.check_writable().inspect_err(|_| self.store.quota.give_back(group.bytes))?;
        let parts = parts(group);
        if let Err(error) = self.active.files.log.write_all_at(&parts, self.active.written) {
            return Err(self.take_back(group.bytes, &error));
        }
        self.active.advance(group);
        self.active.segment.extend(self.active.written, self.active.next_offset, append_time_ms);
        self.remember(&parts, group.bytes);
        self.view.publish_leo(self.active.next_offset);
        Ok(())
    }

    /// Cuts off what a failed write may have left behind, for good: were it there again after a power cut, in the place
    /// of batches that others have from this log by then, copies would differ within one epoch.
    fn take_back(&self, bytes: u64, error: &io::Error) -> AppendError {
        self.store.quota.give_back(bytes);
        let log = &self.active.files.log;
        let cut = log.truncate(self.active.written).and_then(|()| log.sync_data());
        match cut {
            Ok(()) if is_out_of_space(error) => Full::Disk.into(),
            Ok(()) => self.fail("writing", error),
            Err(error) => self.fail("cutting a failed write off", &error),
        }
    }

    fn remember(&self, parts: &[IoSlice<'_>], bytes: u64) {
        let mut tail = self.view.tail();
        if !usize::try_from(bytes).is_ok_and(|bytes| tail.takes(bytes)) {
            tail.restart(self.active.next_offset);
            return;
        }
        let mut chunk = BytesMut::with_capacity(bytes as usize);
        parts.iter().for_each(|part| chunk.extend_from_slice(part));
        tail.push(chunk.freeze(), self.active.next_offset);
    }
}

impl Active {
    /// For a log file just made.
    pub(super) fn begin(
        store: &Store,
        folder: &std::path::Path,
        identity: Identity,
        log: Arc<dyn crate::disk::File>,
    ) -> Self {
        let segment = Arc::new(Segment::new(folder, identity));
        let index = make_index(store, &segment);
        let files = Arc::new(OpenSegment { identity, log, index });
        segment.set_active(Some(Arc::clone(&files)));
        let len = HEADER_BYTES as u64;
        Self {
            segment,
            files,
            written: len,
            synced: len,
            next_offset: identity.base,
            entries: 0,
            fresh_entries: Vec::new(),
            entry_due: len + SPACING,
        }
    }

    fn advance(&mut self, group: &Group<'_>) {
        for (batch, _) in &group.batches {
            if self.written >= self.entry_due {
                self.fresh_entries.push(Entry { offset: self.next_offset, position: self.written });
                self.entry_due = self.written + SPACING;
            }
            self.written += batch.bytes().len() as u64;
            self.next_offset += batch.header().records();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.store.quota.give_back(self.view.size());
    }
}

/// Makes an empty index; none if that fails, for it is only advice.
pub(super) fn make_index(store: &Store, segment: &Segment) -> Option<Index> {
    Index::create(&*store.disk, &segment.index_path(), segment.base())
        .inspect_err(|error| {
            let path = segment.index_path();
            tracing::warn!(path = %path.display(), %error, "cannot make an index; reads will be slower");
        })
        .ok()
}

/// The bytes of a group as the log stores them: heads of ours, the rest as it came.
fn parts<'a>(group: &'a Group<'_>) -> Vec<IoSlice<'a>> {
    let mut parts = Vec::with_capacity(group.batches.len() * 2);
    for (batch, head) in &group.batches {
        parts.push(IoSlice::new(head));
        parts.push(IoSlice::new(&batch.bytes()[PATCH_BYTES..]));
    }
    parts
}

/// For `map_err` where a folder or a segment is made at opening.
pub(super) fn not_created(path: &std::path::Path) -> impl FnOnce(CreateError) -> OpenError {
    let path = path.to_owned();
    move |(CreateError::NotThere(source) | CreateError::MaybeThere(source))| OpenError::Io { path, source }
}
