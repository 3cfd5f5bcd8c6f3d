//! Looking for damage in an open partition, and mending it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task;

use super::Partition;
use super::queue::Work;
use crate::error::{AppendError, ReadError, RepairError};
use crate::log::{Damage, Rewriting, Scrubbed, Seen};

impl Partition {
    /// The first offset of each segment that holds anything.
    pub fn segments(&self) -> Vec<i64> {
        self.inner.view.segment_bases()
    }

    /// Checks what is on disk from `from` on, within one segment and about so many bytes of it; what is not durable
    /// yet is left alone. Neither the writer nor a reader waits for it. A segment that is still written to and has
    /// damage is closed by this.
    pub async fn scrub(&self, from: i64, max_bytes: u64) -> Result<Scrubbed, ReadError> {
        let seen = self.look(from, max_bytes).await?;
        let Some(base) = seen.close_first else { return Ok(seen.scrubbed) };
        match self.close_segment(base).await {
            Ok(()) => self.look(from, max_bytes).await.map(|seen| seen.scrubbed),
            // It stays damaged, and is found again.
            Err(error) => {
                tracing::warn!(%error, "a damaged segment cannot be closed yet");
                Ok(seen.scrubbed)
            }
        }
    }

    /// Begins to mend damage of one segment, all of it as [`Partition::scrub`] found it. One at a time.
    pub async fn repair(&self, damage: Vec<Damage>) -> Result<Repair, RepairError> {
        let (view, store) = (Arc::clone(&self.inner.view), self.inner.store.clone());
        let rewriting = blocking(move || Rewriting::begin(view, &store, &damage)).await?;
        Ok(Repair { partition: self.clone(), rewriting: Some(Box::new(rewriting)) })
    }

    async fn look(&self, from: i64, max_bytes: u64) -> Result<Seen, ReadError> {
        let view = Arc::clone(&self.inner.view);
        let looked = task::spawn_blocking(move || view.scrub(from, max_bytes)).await;
        looked.unwrap_or_else(|error| Err(ReadError::Io { reason: error.to_string().into() }))
    }

    async fn close_segment(&self, base: i64) -> Result<(), AppendError> {
        let (answer, done) = oneshot::channel();
        if !self.submit(Work::CloseSegment(base, answer)) {
            return Err(AppendError::Closed);
        }
        done.await.unwrap_or(Err(AppendError::Closed))
    }
}

/// Damage that is being mended. Nothing changes before [`Repair::finish`], nor if this is dropped.
pub struct Repair {
    partition: Partition,
    /// None after a call that was given up half way.
    rewriting: Option<Box<Rewriting>>,
}

impl Repair {
    /// Takes another copy's batches for the damage of this number, going on behind the last ones; what does not
    /// belong there is refused. Says which offset comes next: the damage's end when it is whole.
    pub async fn put(&mut self, number: usize, batches: Bytes) -> Result<i64, RepairError> {
        let mut rewriting = self.rewriting.take().ok_or(RepairError::Gone)?;
        let put = task::spawn_blocking(move || (rewriting.put(number, &batches), rewriting)).await;
        let (next, rewriting) = put.map_err(|_| RepairError::Gone)?;
        self.rewriting = Some(rewriting);
        next
    }

    /// Puts the mended segment in the damaged one's place; says for each damage whether it is mended.
    pub async fn finish(self) -> Result<Vec<bool>, RepairError> {
        let mut rewriting = self.rewriting.ok_or(RepairError::Gone)?;
        let rewriting = blocking(move || rewriting.complete().map(|()| rewriting)).await?;
        let mended = rewriting.mended();
        let (answer, done) = oneshot::channel();
        if !self.partition.submit(Work::Replace(rewriting, answer)) {
            return Err(RepairError::Gone);
        }
        done.await.unwrap_or(Err(RepairError::Gone)).map(|()| mended)
    }
}

/// What blocks, on a thread of its own; one that did not come back did nothing.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepairError> + Send + 'static,
) -> Result<T, RepairError> {
    task::spawn_blocking(work).await.unwrap_or(Err(RepairError::Gone))
}
