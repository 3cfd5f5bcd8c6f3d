//! One partition: an async handle over the blocking log, with group commit.
//!
//! There is one writer at a time, a task on the runtime's blocking threads that lives while there is work and
//! ends when there is none: an idle partition costs no thread. It takes all that was queued while the last
//! group was being written and synced, and writes and syncs it as the next group. So one fsync serves as many
//! callers as came during the one before, and a lone caller waits for just his own.

mod queue;
mod repair;
mod writer;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task;

use crate::batch::Batch;
use crate::config::Config;
use crate::error::{AppendError, OpenError, ReadError, TruncateError};
use crate::log::{Isolation, Log, Offsets, Origin, Slice, State, View};
use crate::store::{Store, lost};
use queue::{Queue, Work};

pub use repair::Repair;

/// Where an append ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record of the first batch.
    pub base_offset: i64,
    /// Offset behind the last record.
    pub next_offset: i64,
    /// First offset of the log at that time.
    pub log_start: i64,
    /// When it was written, in milliseconds since 1970.
    pub append_time_ms: i64,
}

/// What a maintenance pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Segments removed by retention.
    pub removed_segments: u64,
    /// Their bytes.
    pub removed_bytes: u64,
}

/// An append that is in the queue. Await it for the acknowledgement; dropping it does not take it back.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<Appended, AppendError>>);

impl Future for Ticket {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}

/// An open partition. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Partition {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    view: Arc<View>,
    queue: Queue,
    /// The writer's; none once closed.
    log: Mutex<Option<Log>>,
    runtime: Handle,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partition({:?})", self.offsets())
    }
}

impl Partition {
    pub(crate) async fn open(store: Store, folder: PathBuf, config: Config) -> Result<Self, OpenError> {
        let queue = Queue::new(config.queue_bytes);
        let opened = store.clone();
        let log = task::spawn_blocking(move || Log::open(opened, folder, config))
            .await
            .unwrap_or_else(|panic| Err(lost(panic)))?;
        let view = log.view();
        let inner = Inner { store, view, queue, log: Mutex::new(Some(log)), runtime: Handle::current() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether both are the same open partition.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Appends batches, all behind one another, and waits until they are durable.
    pub async fn append(&self, batches: Vec<Batch>) -> Result<Appended, AppendError> {
        self.enqueue(batches).await?.await
    }

    /// Puts batches into the writer's queue, waiting for room if it is full. Calls that return one after the
    /// other are stored in that order.
    pub async fn enqueue(&self, batches: Vec<Batch>) -> Result<Ticket, AppendError> {
        self.queue(batches, Origin::Producer).await
    }

    /// The same for one who leads in this epoch: refused once another is in force, be it of this leader or the next.
    pub async fn enqueue_in(&self, epoch: i32, batches: Vec<Batch>) -> Result<Ticket, AppendError> {
        self.queue(batches, Origin::LedIn(epoch)).await
    }

    /// The same with batches that have their offsets and epochs from the leader of which this is a copy, followed in
    /// `epoch`: they are kept, and refused where they do not follow on the log, or once another epoch is in force. All
    /// must be of one epoch.
    pub async fn enqueue_copy(&self, epoch: i32, batches: Vec<Batch>) -> Result<Ticket, AppendError> {
        self.queue(batches, Origin::FollowedIn(epoch)).await
    }

    async fn queue(&self, batches: Vec<Batch>, origin: Origin) -> Result<Ticket, AppendError> {
        self.inner.view.check_writable()?;
        let limit = self.inner.view.batch_limit();
        if let Some(batch) = batches.iter().find(|batch| batch.bytes().len() as u64 > limit) {
            return Err(AppendError::TooLarge { bytes: batch.bytes().len() as u64, limit });
        }
        let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
        let room = self.inner.queue.room(bytes).await.ok_or(AppendError::Closed)?;
        let (answer, ticket) = oneshot::channel();
        let append = queue::Append { batches, origin, answer, room };
        if self.submit(Work::Append(append)) { Ok(Ticket(ticket)) } else { Err(AppendError::Closed) }
    }

    /// Cuts a copy's end off, back to `to` or to the start of the batch that holds it; says where the log ends
    /// then. Never below the high-water mark.
    pub async fn truncate(&self, to: i64) -> Result<i64, TruncateError> {
        let closed = || TruncateError::NotNow(AppendError::Closed);
        let (answer, done) = oneshot::channel();
        if !self.submit(Work::Truncate(to, answer)) {
            return Err(closed());
        }
        done.await.unwrap_or(Err(closed()))
    }

    /// Says that all before `hw` is committed, for a partition that is [`crate::Commit::Told`]. What is not here
    /// yet is not counted, and the mark never goes back.
    pub fn commit(&self, hw: i64) {
        self.inner.view.commit(hw);
    }

    /// Follows how far the log survives a crash here.
    pub fn watch_durable(&self) -> watch::Receiver<i64> {
        self.inner.view.watch_durable()
    }

    /// Epoch of the record before an offset; none where the log begins.
    pub fn epoch_before(&self, offset: i64) -> Option<i32> {
        self.inner.view.epoch_before(offset)
    }

    /// The newest epoch in the log up to this one, and the offset behind its last record; none if there is none.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.inner.view.end_of_epoch(epoch)
    }

    /// Reads whole batches, the first being the one that holds `from`: as many as fit into `max_bytes`, at
    /// least one if there is any that the isolation allows. An empty slice means "nothing there yet".
    pub async fn read(&self, from: i64, max_bytes: usize, isolation: Isolation) -> Result<Slice, ReadError> {
        if let Some(slice) = self.inner.view.read_tail(from, max_bytes, isolation)? {
            return Ok(slice);
        }
        let view = Arc::clone(&self.inner.view);
        task::spawn_blocking(move || view.read(from, max_bytes, isolation))
            .await
            .unwrap_or_else(|error| Err(ReadError::Io { reason: error.to_string().into() }))
    }

    /// Where the log starts and ends now.
    pub fn offsets(&self) -> Offsets {
        self.inner.view.offsets()
    }

    /// Follows the log end offset: what is written, durable or not.
    pub fn watch_leo(&self) -> watch::Receiver<i64> {
        self.inner.view.watch_leo()
    }

    /// Follows the high-water mark: what is committed.
    pub fn watch_hw(&self) -> watch::Receiver<i64> {
        self.inner.view.watch_hw()
    }

    /// Whether it takes appends.
    pub fn state(&self) -> State {
        self.inner.view.state()
    }

    /// How long the writer has been at one thing by now, a group of appends or anything else: for long only when the disk
    /// does not answer. Zero while it sleeps.
    pub fn busy_for(&self) -> Duration {
        self.inner.queue.busy_for()
    }

    /// Follows the state. Readers that wait for more should also wait for this.
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.inner.view.watch_state()
    }

    /// Bytes of its log files.
    pub fn size(&self) -> u64 {
        self.inner.view.size()
    }

    /// One pass of retention; also syncs what [`crate::Durability::Memory`] left unsynced and gives back the
    /// memory of an idle partition. Call it every few seconds.
    pub async fn maintain(&self) -> Result<Maintained, AppendError> {
        let (answer, done) = oneshot::channel();
        if !self.submit(Work::Maintain(answer)) {
            return Err(AppendError::Closed);
        }
        done.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Lets go of the segments that end at `before` or earlier and are committed, as the leader of this copy has.
    /// Soon, and only what is not active; what cannot be removed now is removed when it is asked for again.
    pub fn let_go(&self, before: i64) {
        self.submit(Work::LetGo(before));
    }

    /// Puts other settings in force, for appends queued from now on.
    pub fn configure(&self, config: Config) {
        // At once, and not when the writer comes to it: who leads may change before.
        self.inner.view.set_commit(config.commit);
        self.submit(Work::Configure(config));
    }

    /// Finishes what is queued, syncs and closes. Appends and reads then say [`AppendError::Closed`]; when this
    /// returns the partition may be opened again.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.submit(Work::Close(answer)) {
            // An error only says that the writer is gone, which is what we wait for.
            done.await.ok();
        } else {
            // Somebody else closes it; the state says when that is done.
            let closed = |state: &State| matches!(state, State::Closed | State::Deleted);
            self.watch_state().wait_for(closed).await.ok();
        }
    }

    /// Closes the partition and removes it with all its bytes. Once this returns Ok nothing of it comes back,
    /// not after a power cut either. If it fails, [`Store::remove`] tries again.
    pub async fn delete(&self) -> Result<(), OpenError> {
        let (answer, done) = oneshot::channel();
        if !self.submit(Work::Delete(answer)) {
            return Ok(());
        }
        done.await.unwrap_or(Ok(()))
    }

    /// Queues work and starts the writer if it sleeps. False once closed.
    fn submit(&self, work: Work) -> bool {
        match self.inner.queue.push(work) {
            queue::Pushed::Closed => false,
            queue::Pushed::WriterRuns => true,
            queue::Pushed::StartWriter => {
                let inner = Arc::clone(&self.inner);
                self.inner.runtime.spawn_blocking(move || writer::run(&inner));
                true
            }
        }
    }
}
