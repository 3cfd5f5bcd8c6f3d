//! Consumers' offsets: how far each consumer came in each partition.
//!
//! They are records of the partition `consumer-offset-0`, written by the SPU that leads it and held in a
//! table in memory. Any SPU takes a client's request; one that does not lead the partition passes it on over
//! its link. One task does all of it and stores whatever waits in one batch, so that a thousand consumers
//! that move at once cost one write.

mod client;
mod journal;
mod record;
mod table;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Spu;
use crate::link::{OffsetsAnswer, OffsetsCall, OffsetsRequest, SpuLink};
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use journal::Journal;

/// Requests that wait for the task.
const QUEUE: usize = 256;
/// Requests done in one write.
const AT_ONCE: usize = 256;
/// How long a client's request may take, the way to another SPU included.
const PATIENCE: Duration = Duration::from_secs(20);

/// The way to the table for this SPU's own clients.
#[derive(Debug)]
pub struct Consumers {
    link: SpuLink,
    calls: mpsc::Sender<OffsetsCall>,
    receiver: Mutex<Option<mpsc::Receiver<OffsetsCall>>>,
}

impl Consumers {
    pub(super) fn new(link: SpuLink) -> Self {
        let (calls, receiver) = mpsc::channel(QUEUE);
        Self { link, calls, receiver: Mutex::new(Some(receiver)) }
    }

    fn take_receiver(&self) -> Option<mpsc::Receiver<OffsetsCall>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn here(&self, request: OffsetsRequest) -> Option<OffsetsAnswer> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(OffsetsCall { request, reply }).await.ok()?;
        answer.await.ok()
    }
}

impl Spu {
    /// Has an operation done here or by the SPU that leads the offsets.
    pub(super) async fn consumers_call(&self, request: OffsetsRequest) -> OffsetsAnswer {
        let failed = |why: String| OffsetsAnswer::Failed(why);
        let leads = self.replicas.leader(CONSUMER_OFFSETS, 0, ErrorCode::PartitionNotLeader).is_ok();
        let call = async {
            if leads {
                let closed = || failed("this SPU no longer leads the consumer offsets".into());
                self.consumers.here(request).await.unwrap_or_else(closed)
            } else {
                let answer = self.consumers.link.offsets(request).await;
                answer.unwrap_or_else(|error| failed(format!("no way to the consumer offsets: {error}")))
            }
        };
        let late = |_| failed("the consumer offsets did not answer in time".into());
        timeout(PATIENCE, call).await.unwrap_or_else(late)
    }

    /// Answers what this SPU's clients and other SPUs ask, until stopped.
    pub(super) async fn serve_consumers(self: Arc<Self>) {
        let (Some(mut linked), Some(mut own)) =
            (self.link.take_offsets_requests(), self.consumers.take_receiver())
        else {
            return;
        };
        let mut journal = None;
        loop {
            let first = tokio::select! {
                () = self.stop.cancelled() => return,
                Some(call) = linked.recv() => call,
                Some(call) = own.recv() => call,
            };
            let mut calls = vec![first];
            while calls.len() < AT_ONCE {
                match linked.try_recv().or_else(|_| own.try_recv()) {
                    Ok(call) => calls.push(call),
                    Err(_) => break,
                }
            }
            self.answer_calls(&mut journal, calls).await;
        }
    }

    async fn answer_calls(&self, journal: &mut Option<Journal>, calls: Vec<OffsetsCall>) {
        let view = Arc::clone(&self.link.view().borrow());
        match self.opened_journal(journal.take()).await {
            Ok(opened) => journal.insert(opened).answer(&view, calls).await,
            Err(why) => {
                for call in calls {
                    // Whoever gave up waiting needs no answer.
                    let _ = call.reply.send(OffsetsAnswer::Failed(why.clone()));
                }
            }
        }
    }

    /// The journal of the partition as it is assigned now.
    async fn opened_journal(&self, current: Option<Journal>) -> Result<Journal, String> {
        let found = self.replicas.leader(CONSUMER_OFFSETS, 0, ErrorCode::PartitionNotLeader);
        let (replica, log) = found.map_err(|_| "this SPU does not lead the consumer offsets now")?;
        match current.filter(|journal| journal.is_of(&replica)) {
            Some(journal) => Ok(journal),
            None => Journal::open(replica, log, Arc::clone(&self.usage)).await,
        }
    }
}
