//! One SPU's disk and what is on it: the real log and the real documents, and beside them what the log has to hold.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cluster_storage::batch::Batch;
use cluster_storage::clock::SystemClock;
use cluster_storage::disk::Disk as _;
use cluster_storage::disk::simulated::{Fault, SimulatedDisk};
use cluster_storage::{
    AppendError, Commit, Config, Isolation, OpenError, PartitionName, State, SteppedLog, Store, TruncateError,
};

use super::sc::TOPIC;
use crate::link::Assignment;
use crate::spu::copies::follow::LIMITS;
use crate::spu::copies::leading::Ends;
use crate::spu::{kept, whole};

const FOLDER: &str = "/spu";

/// So small that segments end every now and then.
const SEGMENT_BYTES: u64 = 4096;

/// So few that a leader also has to read from its disk.
const TAIL_BYTES: usize = 1024;

/// One record, told apart by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) epoch: i32,
    pub(super) number: u64,
}

/// The disk refused, or has no power any more.
#[derive(Debug)]
pub(super) struct Failed;

pub(super) struct Copy {
    disk: SimulatedDisk,
    /// While a process has it open.
    log: Option<SteppedLog>,
    records: Vec<Record>,
    /// How many of them survive whatever fails.
    synced: usize,
    /// What may be there behind them, since writing it failed.
    unsure: Vec<Record>,
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, synced, log, .. } = self;
        let (offsets, state) = (log.as_ref().map(SteppedLog::offsets), log.as_ref().map(SteppedLog::state));
        write!(f, "Copy({} records, {synced} synced, {offsets:?}, {state:?})", records.len())
    }
}

impl Copy {
    pub(super) fn new(seed: u64) -> Self {
        let disk = disk_with(FOLDER, seed);
        Self { disk, log: None, records: Vec::new(), synced: 0, unsure: Vec::new() }
    }

    /// A process opens the log. Whatever happened to the disk before, it is what it has to hold, and a part of what may
    /// have been lost.
    pub(super) fn open(&mut self, epoch: u32) -> Result<(), Failed> {
        let (disk, folder) = (Arc::new(self.disk.clone()), Path::new(FOLDER).join("log"));
        let store = Store::over(&folder, disk, Arc::new(SystemClock), u64::MAX, 0);
        let log = SteppedLog::open(&store, &name(), config(epoch)).map_err(|error| match error {
            OpenError::Io { .. } => Failed,
            error => panic!("a disk that was never damaged is: {error}"),
        })?;
        let found = read_from(&log, 0)?;
        self.records.append(&mut self.unsure);
        assert!(self.records.starts_with(&found), "{self:?}: found {found:?} of {:?}", self.records);
        assert!(found.len() >= self.synced, "{self:?}: found {} only", found.len());
        (self.synced, self.records, self.log) = (found.len(), found, Some(log));
        Ok(())
    }

    /// The power is gone, or the process just died: what was not written by the kernel is lost.
    pub(super) fn cut_power(&mut self) {
        self.log = None;
        self.disk = self.disk.restart();
    }

    /// The same disk, opened once more by the same process. The kernel may have let go of what it could not write.
    pub(super) fn open_again(&mut self, epoch: u32, forgotten: bool) -> Result<(), Failed> {
        if let Some(log) = self.log.take() {
            log.close();
        }
        if forgotten {
            self.disk.forget_unwritten();
        }
        self.open(epoch)
    }

    pub(super) fn lose_disk(&mut self, seed: u64) {
        *self = Self::new(seed);
    }

    /// The copy is thrown away, and an empty one is in its place.
    pub(super) fn remove(&mut self, epoch: u32) -> Result<(), Failed> {
        self.synced = 0;
        if let Some(log) = self.log.take() {
            log.delete().map_err(|_| Failed)?;
        }
        self.records.clear();
        self.open(epoch)
    }

    /// From so many operations on, one fails, or all do until the disk is mended.
    pub(super) fn break_disk(&self, at: u64, full: bool, lasting: bool) {
        let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        self.disk.set_fault(Some(Fault { at, kind, lasting }));
    }

    pub(super) fn mend_disk(&self) {
        self.disk.mend();
    }

    /// The power will go in the middle of what it does.
    pub(super) fn cut_power_after(&self, operations: u64) {
        self.disk.cut_power_after(operations);
    }

    pub(super) fn has_power(&self) -> bool {
        !self.disk.is_dead()
    }

    /// Whether the log takes appends.
    pub(super) fn is_writable(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.state() == State::Open)
    }

    pub(super) fn configure(&mut self, epoch: u32) {
        if let Some(log) = &mut self.log {
            log.configure(config(epoch));
        }
    }

    /// A producer's record, taken by the leader of this epoch.
    pub(super) fn append(&mut self, epoch: u32, number: u64) -> Result<(), Failed> {
        let log = self.log.as_mut().ok_or(Failed)?;
        let value = Bytes::copy_from_slice(&number.to_be_bytes());
        let batch = crate::wire::record_batch(&[(Bytes::new(), value)], 0).unwrap();
        let record = Record { epoch: i32::try_from(epoch).unwrap(), number };
        let appended = log.append_in(record.epoch, &[Batch::parse(&batch).unwrap()]);
        self.appended(vec![record], appended.map(|appended| appended.base_offset))
    }

    /// What a leader that is followed in this epoch sent.
    pub(super) fn take(&mut self, epoch: u32, batches: &Bytes) -> Result<(), Failed> {
        let log = self.log.as_mut().ok_or(Failed)?;
        let batches = cluster_storage::batch::split(batches, LIMITS).unwrap();
        let appended = log.append_copy(i32::try_from(epoch).unwrap(), &batches);
        self.appended(batches.iter().map(record).collect(), appended.map(|appended| appended.base_offset))
    }

    fn appended(&mut self, records: Vec<Record>, outcome: Result<i64, AppendError>) -> Result<(), Failed> {
        match outcome {
            Ok(base_offset) => {
                assert_eq!(base_offset, offset(self.records.len()));
                self.records.extend(records);
                Ok(())
            }
            Err(AppendError::Full(_)) => Err(Failed),
            Err(AppendError::ReadOnly { .. }) => {
                // Of a later one nothing was tried.
                if self.unsure.is_empty() {
                    self.unsure = records;
                }
                Err(Failed)
            }
            Err(error) => panic!("{self:?}: {error}"),
        }
    }

    pub(super) fn sync(&mut self) -> Result<(), Failed> {
        self.log.as_mut().ok_or(Failed)?.sync().map_err(|_| Failed)?;
        self.synced = self.records.len();
        assert_eq!(self.ends().durable, offset(self.synced));
        Ok(())
    }

    /// Cuts off what the leader never had.
    pub(super) fn cut(&mut self, to: i64) -> Result<(), Failed> {
        let log = self.log.as_mut().ok_or(Failed)?;
        let kept = usize::try_from(to).unwrap();
        self.synced = self.synced.min(kept);
        match log.truncate(to) {
            Ok(end) => assert_eq!(end, to),
            Err(error @ TruncateError::Committed { .. }) => panic!("{self:?}: {error}"),
            Err(TruncateError::NotNow(_)) => return Err(Failed),
        }
        self.records.truncate(kept);
        self.synced = kept;
        Ok(())
    }

    pub(super) fn commit(&self, hw: i64) {
        if let Some(log) = &self.log {
            log.commit(hw);
        }
    }

    /// Where the log stands, if it is open.
    pub(super) fn ends(&self) -> Ends {
        let Some(log) = &self.log else { return Ends { leo: 0, durable: 0, hw: 0 } };
        let offsets = log.offsets();
        assert_eq!(offsets.leo, offset(self.records.len()), "{self:?}");
        Ends { leo: offsets.leo, durable: log.durable(), hw: offsets.hw }
    }

    pub(super) fn epoch_before(&self, position: i64) -> Option<i32> {
        let before = usize::try_from(position).ok()?.checked_sub(1)?;
        let known = self.records.get(before).map(|record| record.epoch);
        let found = self.log.as_ref()?.epoch_before(position);
        assert!(known.is_none() || known == found, "{self:?}: {known:?} and {found:?} before {position}");
        found
    }

    pub(super) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let last = self.records.iter().rposition(|record| record.epoch <= epoch);
        let known = last.map(|last| (self.records[last].epoch, offset(last + 1)));
        let found = self.log.as_ref()?.end_of_epoch(epoch);
        assert_eq!(found, known, "{self:?}: the end of epoch {epoch}");
        found
    }

    /// Batches of one epoch from there on, and the offset behind them.
    pub(super) fn read(&self, from: i64) -> Result<(Bytes, i64), Failed> {
        let log = self.log.as_ref().ok_or(Failed)?;
        let slice = log.read(from, 1 << 20, Isolation::Uncommitted).map_err(|_| Failed)?;
        let (bytes, next) = crate::spu::copies::feed::of_one_epoch(slice.bytes);
        Ok((bytes, next.unwrap_or(from)))
    }

    /// All of it, as its readers find it.
    pub(super) fn read_all(&self) -> Result<Vec<Record>, Failed> {
        let found = read_from(self.log.as_ref().ok_or(Failed)?, 0)?;
        assert_eq!(found, self.records);
        Ok(found)
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(super) fn synced(&self) -> &[Record] {
        &self.records[..self.synced]
    }

    pub(super) fn keep(&self, assignment: Option<&Assignment>) -> Result<(), Failed> {
        let kept: Vec<Assignment> = assignment.cloned().into_iter().collect();
        kept::write(&self.disk, Path::new(FOLDER), &kept).map_err(|_| Failed)
    }

    pub(super) fn keep_whole(&self, epoch: Option<u32>) -> Result<(), Failed> {
        let epochs: BTreeMap<_, _> = epoch.map(|epoch| ((TOPIC, 0), epoch)).into_iter().collect();
        whole::write(&self.disk, Path::new(FOLDER), &epochs).map_err(|_| Failed)
    }

    /// What was kept: the assignment, and of which epoch the copy is whole.
    pub(super) fn kept(&self) -> (Option<Assignment>, Option<u32>) {
        let assignments = kept::read(&self.disk, Path::new(FOLDER)).expect("no document is ever damaged");
        let epochs = whole::read(&self.disk, Path::new(FOLDER)).expect("no document is ever damaged");
        (assignments.into_iter().next(), epochs.get(&(TOPIC, 0)).copied())
    }
}

/// A disk with this folder, as whoever installs a server makes it.
pub(super) fn disk_with(folder: &str, seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    disk.create_dir(Path::new(folder)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn name() -> PartitionName {
    PartitionName::new("t", 0).unwrap()
}

fn config(epoch: u32) -> Config {
    Config {
        leader_epoch: i32::try_from(epoch).unwrap(),
        commit: Commit::Told,
        segment_bytes: SEGMENT_BYTES,
        tail_bytes: TAIL_BYTES,
        ..Config::default()
    }
}

fn read_from(log: &SteppedLog, mut from: i64) -> Result<Vec<Record>, Failed> {
    let mut found = Vec::new();
    while from < log.offsets().leo {
        let slice = log.read(from, 1 << 20, Isolation::Uncommitted).map_err(|_| Failed)?;
        let batches = cluster_storage::batch::split(&slice.bytes, LIMITS).unwrap();
        found.extend(batches.iter().map(record));
        from = slice.next_offset;
    }
    Ok(found)
}

/// A batch has one record, its number the last thing before the count of its headers.
fn record(batch: &Batch) -> Record {
    let payload = batch.payload();
    let number = payload[payload.len() - 9..].first_chunk().unwrap();
    Record { epoch: batch.header().leader_epoch, number: u64::from_be_bytes(*number) }
}

pub(super) fn offset(at: usize) -> i64 {
    i64::try_from(at).unwrap()
}
