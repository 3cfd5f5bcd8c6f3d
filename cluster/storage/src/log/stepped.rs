//! A log that its caller steps through: everything happens on the caller's thread, and what was appended is synced
//! when it says so. So a seed decides what was on disk when something fails, and the same seed fails the same way.

use std::sync::Arc;

use super::{Isolation, Log, Offsets, Origin, Slice, State, View};
use crate::batch::Batch;
use crate::config::{Config, Durability};
use crate::error::{AppendError, OpenError, ReadError, TruncateError};
use crate::partition::Appended;
use crate::store::{PartitionName, Store};

/// An open log without a writer of its own: what [`crate::Partition`] does in the background, one call at a time.
pub struct SteppedLog {
    log: Log,
    view: Arc<View>,
    durable: i64,
}

impl SteppedLog {
    /// [`Store::list`] and [`Store::open`], for a store with this one partition.
    pub fn open(store: &Store, name: &PartitionName, config: Config) -> Result<Self, OpenError> {
        store.list_now()?;
        let log = Log::open(store.clone(), store.folder_of(name), Self::unsynced(config))?;
        let view = log.view();
        let durable = view.offsets().leo;
        Ok(Self { log, view, durable })
    }

    /// An append is over with its write then.
    fn unsynced(config: Config) -> Config {
        Config { durability: Durability::Memory, ..config }
    }

    /// Appends what a producer sent to the leader of this epoch; it is not durable yet.
    pub fn append_in(&mut self, epoch: i32, batches: &[Batch]) -> Result<Appended, AppendError> {
        self.append(batches, Origin::LedIn(epoch))
    }

    /// Appends what the leader of which this is a copy sent in this epoch; it is not durable yet.
    pub fn append_copy(&mut self, epoch: i32, batches: &[Batch]) -> Result<Appended, AppendError> {
        self.append(batches, Origin::FollowedIn(epoch))
    }

    fn append(&mut self, batches: &[Batch], origin: Origin) -> Result<Appended, AppendError> {
        let mut outcome = Err(AppendError::Closed);
        self.log.append(&[(batches, origin)], &mut |_, said| outcome = said);
        self.look();
        outcome
    }

    /// Makes durable what was appended.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.log.sync()?;
        self.look();
        self.log.note();
        Ok(())
    }

    fn look(&mut self) {
        let active = &self.log.active;
        // What lies in closed segments was synced as they were closed.
        let closed = active.segment.base().max(self.durable.min(active.next_offset));
        self.durable = if active.synced == active.written { active.next_offset } else { closed };
    }

    /// As [`crate::Partition::truncate`].
    pub fn truncate(&mut self, to: i64) -> Result<i64, TruncateError> {
        let end = self.log.truncate(to)?;
        self.look();
        Ok(end)
    }

    /// As [`crate::Partition::commit`].
    pub fn commit(&self, hw: i64) {
        self.view.commit(hw);
    }

    /// As [`crate::Partition::configure`].
    pub fn configure(&mut self, config: Config) {
        self.view.set_commit(config.commit);
        self.log.configure(Self::unsynced(config));
    }

    /// Where it starts and ends.
    pub fn offsets(&self) -> Offsets {
        self.view.offsets()
    }

    /// All before it survives a power cut.
    pub fn durable(&self) -> i64 {
        self.durable
    }

    /// As [`crate::Partition::epoch_before`].
    pub fn epoch_before(&self, offset: i64) -> Option<i32> {
        self.view.epoch_before(offset)
    }

    /// As [`crate::Partition::end_of_epoch`].
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.view.end_of_epoch(epoch)
    }

    /// As [`crate::Partition::read`].
    pub fn read(&self, from: i64, max_bytes: usize, isolation: Isolation) -> Result<Slice, ReadError> {
        match self.view.read_tail(from, max_bytes, isolation)? {
            Some(slice) => Ok(slice),
            None => self.view.read(from, max_bytes, isolation),
        }
    }

    /// Whether it takes appends.
    pub fn state(&self) -> State {
        self.view.state()
    }

    /// As [`crate::Partition::close`].
    pub fn close(mut self) {
        if self.log.sync().is_ok() {
            self.log.note();
        }
    }

    /// As [`crate::Partition::delete`].
    pub fn delete(self) -> Result<(), OpenError> {
        let (store, folder) = self.log.place();
        drop(self.log);
        store.remove_folder(&folder)
    }
}
