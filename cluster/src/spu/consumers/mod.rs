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
use tokio::time::{Instant, timeout_at};

use super::Spu;
use crate::link::{ConsumerOffset, OffsetsAnswer, OffsetsCall, OffsetsRequest, SpuLink};
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use journal::Journal;

/// Requests that wait for the task.
const QUEUE: usize = 256;
/// Requests done in one write.
const AT_ONCE: usize = 256;
/// How long a client's request may take, the way to another SPU and an election included.
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
    /// Has an operation done here or by the SPU that leads the offsets, and returns what it lists; else why not, for a
    /// person. Held while there is no such SPU, since to do it twice is to do it once.
    pub(super) async fn consumers_call(
        &self,
        request: OffsetsRequest,
    ) -> Result<Vec<ConsumerOffset>, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = "the consumer offsets did not answer in time".to_owned();
        loop {
            match timeout_at(deadline, self.consumers_call_once(request.clone())).await {
                Ok(OffsetsAnswer::NotNow(why)) => said = why,
                Ok(OffsetsAnswer::Done) => return Ok(Vec::new()),
                Ok(OffsetsAnswer::Consumers(found)) => return Ok(found),
                Ok(OffsetsAnswer::Failed(why)) => return Err(why),
                Err(_) => return Err(said),
            }
            if self.rerouted(deadline).await.is_err() {
                return Err(said);
            }
        }
    }

    async fn consumers_call_once(&self, request: OffsetsRequest) -> OffsetsAnswer {
        let leads = self.replicas.leader(CONSUMER_OFFSETS, 0, ErrorCode::PartitionNotLeader).is_ok();
        let not_now = |why: String| OffsetsAnswer::NotNow(why);
        if leads {
            let closed = || not_now("this SPU no longer leads the consumer offsets".into());
            return self.consumers.here(request).await.unwrap_or_else(closed);
        }
        let answer = self.consumers.link.offsets(request).await;
        answer.unwrap_or_else(|error| not_now(format!("no way to the consumer offsets: {error}")))
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

    async fn answer_calls(self: &Arc<Self>, journal: &mut Option<Journal>, calls: Vec<OffsetsCall>) {
        let view = Arc::clone(&self.link.view().borrow());
        match self.opened_journal(journal.take()).await {
            Ok(mut opened) => {
                if opened.answer(&view, calls).await {
                    *journal = Some(opened);
                }
            }
            Err(why) => {
                for call in calls {
                    // Whoever gave up waiting needs no answer.
                    let _ = call.reply.send(OffsetsAnswer::NotNow(why.clone()));
                }
            }
        }
    }

    /// The journal of the partition as it is assigned now.
    async fn opened_journal(self: &Arc<Self>, current: Option<Journal>) -> Result<Journal, String> {
        let found = self.replicas.leader(CONSUMER_OFFSETS, 0, ErrorCode::PartitionNotLeader);
        let (replica, log) = found.map_err(|_| "this SPU does not lead the consumer offsets now")?;
        if let Some(journal) = current.filter(|journal| journal.is_of(&replica)) {
            return Ok(journal);
        }
        let lead = self.leads.get(&replica.assignment.key).filter(|lead| lead.is_of(&replica.assignment));
        if replica.has_copies() && lead.is_none() {
            return Err("this SPU has only begun to lead the consumer offsets".into());
        }
        if let Some(lead) = &lead
            && !lead.mark_is_known().await
        {
            return Err("it is not known yet which consumer offsets are committed".into());
        }
        Journal::open(self, replica, log, lead).await
    }
}
