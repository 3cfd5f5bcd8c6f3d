//! What waits for the writer, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Appended, Maintained};
use crate::batch::Batch;
use crate::config::Config;
use crate::error::{AppendError, OpenError, RepairError, TruncateError};
use crate::log::{Origin, Rewriting};

/// Bytes that one permit stands for.
const PERMIT_BYTES: usize = 256;

/// Something for the writer to do.
pub(super) enum Work {
    Append(Append),
    Truncate(i64, oneshot::Sender<Result<i64, TruncateError>>),
    Maintain(oneshot::Sender<Result<Maintained, AppendError>>),
    LetGo(i64),
    CloseSegment(i64, oneshot::Sender<Result<(), AppendError>>),
    Replace(Box<Rewriting>, oneshot::Sender<Result<(), RepairError>>),
    Configure(Config),
    Close(oneshot::Sender<()>),
    Delete(oneshot::Sender<Result<(), OpenError>>),
}

/// Batches to append, and who waits for it.
pub(super) struct Append {
    pub(super) batches: Vec<Batch>,
    pub(super) origin: Origin,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// Its place in the queue, free again once answered.
    pub(super) room: OwnedSemaphorePermit,
}

/// What the caller of [`Queue::push`] has to do.
pub(super) enum Pushed {
    Closed,
    WriterRuns,
    StartWriter,
}

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    room: Arc<Semaphore>,
    permits: u32,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    /// Since when the writer is at what it does now; none while it sleeps.
    busy_since: Option<Instant>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes: usize) -> Self {
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            waiting: Mutex::default(),
            room: Arc::new(Semaphore::new(permits)),
            permits: u32::try_from(permits).unwrap_or(u32::MAX),
        }
    }

    /// Waits for room, first come first served. What is larger than the whole queue waits for all of it.
    pub(super) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.permits);
        Arc::clone(&self.room).acquire_many_owned(wanted).await.ok()
    }

    pub(super) fn push(&self, work: Work) -> Pushed {
        let mut waiting = self.lock();
        if waiting.closed {
            return Pushed::Closed;
        }
        waiting.work.push_back(work);
        if waiting.busy_since.is_some() {
            Pushed::WriterRuns
        } else {
            waiting.busy_since = Some(Instant::now());
            Pushed::StartWriter
        }
    }

    /// All that waits; none if there is nothing, and then the writer has to end.
    pub(super) fn take(&self) -> Option<VecDeque<Work>> {
        let mut waiting = self.lock();
        if waiting.work.is_empty() {
            waiting.busy_since = None;
            return None;
        }
        Some(std::mem::take(&mut waiting.work))
    }

    /// The writer comes to the next thing.
    pub(super) fn begins(&self) {
        self.lock().busy_since = Some(Instant::now());
    }

    /// How long the writer has been at one thing.
    pub(super) fn busy_for(&self) -> Duration {
        self.lock().busy_since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Refuses all that waits and all that would come; they hear it as their answers are dropped.
    pub(super) fn close(&self) {
        self.room.close();
        let refused = {
            let mut waiting = self.lock();
            waiting.closed = true;
            std::mem::take(&mut waiting.work)
        };
        drop(refused);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half way, so the content is whole in any case.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
