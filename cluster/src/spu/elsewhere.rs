//! What other SPUs are asked for on behalf of this one's clients, and what this one answers them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_storage::{Isolation, Partition, ReadError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout, timeout_at};

use super::compressed::Allowance;
use super::patience::{Patience, timed_out};
use super::produce::{Outcome, Stored};
use super::route::Route;
use super::stream::{MAX_SLICE, unreadable};
use super::{Replica, Spu, changed};
use crate::link::PartitionKey;
use crate::peer::{Answer, Answers, Ask, Copied, Parcel, Parcels, PeerError, Read, Refused, Reply, only};
use crate::wire::schema::{error_bytes, error_of};
use crate::wire::{Acks, ErrorCode, ProduceEntry};

/// How long a leader may take to say where a partition begins and ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one partition's leader said.
pub(super) struct Bounds {
    pub(super) log_start: i64,
    pub(super) hw: i64,
}

impl Spu {
    /// Has a producer's batches stored by the SPU that leads the partition. `None` if it surely did nothing, so that
    /// another may be asked.
    pub(super) async fn produce_there(
        &self,
        spu: i32,
        key: &PartitionKey,
        records: &Bytes,
        patience: Patience,
    ) -> Option<Outcome> {
        let patience_ms = u64::try_from(patience.timeout().as_millis()).unwrap_or(u64::MAX);
        let ask = Ask::Produce { key: key.clone(), patience_ms };
        let limit = patience.left();
        let code = match timeout(limit, self.peers.call::<Answer>(spu, &ask, records.clone())).await {
            Ok(Ok(Parcel { head: Answer::Stored { base_offset, log_start }, .. })) => {
                return Some(Ok(Stored { base_offset, log_start }));
            }
            Ok(
                Ok(Parcel { head: Answer::Refused(Refused::NotLeader), .. })
                | Err(PeerError::Unreachable { .. }),
            ) => return None,
            Ok(Ok(Parcel { head: Answer::Refused(Refused::Code(code)), .. })) => error_of(&code),
            // It may have stored them, so they must not be sent again unasked.
            Ok(Ok(_) | Err(PeerError::Parcel(_))) => ErrorCode::NotLeaderForPartition,
            Err(_) => timed_out(limit),
        };
        Some(Err(code))
    }

    /// Where a partition begins and ends, as its leader says. Held until then while there is none.
    pub(super) async fn bounds(
        &self,
        key: &PartitionKey,
        unknown: ErrorCode,
        deadline: Instant,
    ) -> Result<Bounds, ErrorCode> {
        loop {
            match self.route(key, unknown.clone())? {
                Route::Here(replica, log) => return Ok(self.bounds_here(&replica, &log).await),
                Route::There(leader) => {
                    let ask = Ask::Offsets { key: key.clone() };
                    let until = deadline.min(Instant::now() + PATIENCE);
                    let answer = self.peers.call::<Answer>(leader.spu, &ask, Bytes::new());
                    let answer = timeout_at(until, answer).await;
                    match answer {
                        Ok(Ok(Parcel { head: Answer::Offsets { log_start, hw }, .. })) => {
                            return Ok(Bounds { log_start, hw });
                        }
                        Ok(Ok(Parcel { head: Answer::Refused(Refused::Code(code)), .. })) => {
                            return Err(error_of(&code));
                        }
                        _ => {}
                    }
                }
                Route::Soon => {}
            }
            self.rerouted(deadline).await?;
        }
    }

    async fn bounds_here(&self, replica: &Replica, log: &Partition) -> Bounds {
        if let Some(lead) = self.leads.get(&replica.assignment.key).filter(|_| replica.has_copies()) {
            // Late is no error: what is known to be committed is told.
            let _ = lead.mark_is_known().await;
        }
        let offsets = log.offsets();
        Bounds { log_start: offsets.log_start, hw: offsets.hw }
    }

    async fn produced(&self, key: PartitionKey, asked: Duration, records: Bytes) -> Answer {
        let patience = Patience::from_now(asked);
        let Ok(Route::Here(replica, log)) = self.route(&key, ErrorCode::None) else {
            return Answer::Refused(Refused::NotLeader);
        };
        let entry = ProduceEntry { partition: key.partition, records };
        let queued = self.queue_here(replica, log, entry, patience, &mut Allowance::default()).await;
        let outcome = match queued {
            Ok(queued) => self.finish(queued, Acks::Committed, patience).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(stored) => Answer::Stored { base_offset: stored.base_offset, log_start: stored.log_start },
            Err(error) => refused(&error),
        }
    }

    /// What this copy has, for another one that is damaged.
    async fn read_copy(&self, ask: Copied) -> (Answer, Bytes) {
        let found = self.replicas.get(&ask.placed.key.topic, ask.placed.key.partition);
        let found = found.filter(|found| found.assignment.topic_id == ask.placed.topic_id);
        let none = || (Answer::Refused(Refused::NotLeader), Bytes::new());
        let Some(Ok(log)) = found.as_ref().map(|found| found.log.as_ref()) else { return none() };
        // Committed records are the same everywhere; of others nobody can say so.
        match log.read(ask.from, ask.max_bytes.min(MAX_SLICE), Isolation::Committed).await {
            Ok(slice) if slice.bytes.is_empty() => none(),
            Ok(slice) => {
                let (next_offset, offsets) = (slice.next_offset, slice.offsets);
                let (log_start, hw) = (offsets.log_start, offsets.hw);
                (Answer::Slice { next_offset, log_start, hw }, slice.bytes)
            }
            Err(error) => (refused(&unreadable(error, ask.from, &log.state())), Bytes::new()),
        }
    }

    async fn read_for(self: &Arc<Self>, ask: Read) -> (Answer, Bytes) {
        let Ok(Route::Here(replica, log)) = self.route(&ask.key, ErrorCode::None) else {
            return (Answer::Refused(Refused::NotLeader), Bytes::new());
        };
        if ask.topic_id.is_some_and(|asked| asked != replica.assignment.topic_id) {
            return (refused(&ErrorCode::TopicDeleted), Bytes::new());
        }
        let over = self.leads.get(&ask.key).map(|lead| lead.over());
        let (isolation, mut end) = match ask.committed {
            true => (Isolation::Committed, log.watch_hw()),
            false => (Isolation::Uncommitted, log.watch_leo()),
        };
        let some = async {
            while *end.borrow_and_update() == ask.from {
                changed(&mut end).await;
            }
        };
        let gone = async {
            match &over {
                Some(over) => over.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Nothing in time is an answer, too.
            _ = timeout(Duration::from_millis(ask.patience_ms), some) => {}
            () = gone => return (Answer::Refused(Refused::NotLeader), Bytes::new()),
        }
        match self.read_whole(&ask.key, &log, (ask.from, ask.max_bytes, isolation)).await {
            Ok(slice) => {
                let (next_offset, offsets) = (slice.next_offset, slice.offsets);
                let (log_start, hw) = (offsets.log_start, offsets.hw);
                (Answer::Slice { next_offset, log_start, hw }, slice.bytes)
            }
            Err(ReadError::Closed) => (Answer::Refused(Refused::NotLeader), Bytes::new()),
            Err(error) => (refused(&unreadable(error, ask.from, &log.state())), Bytes::new()),
        }
    }
}

fn refused(error: &ErrorCode) -> Answer {
    Answer::Refused(Refused::Code(error_bytes(error)))
}

impl Answers for Spu {
    fn answer(self: Arc<Self>, ask: Parcel<Ask>, behind: Parcels) -> BoxFuture<'static, Reply> {
        async move {
            let (answer, payload) = match ask.head {
                Ask::Follow(follow) => return self.feed(follow, behind),
                Ask::Produce { key, patience_ms } => {
                    let asked = Duration::from_millis(patience_ms);
                    (self.produced(key, asked, ask.payload).await, Bytes::new())
                }
                Ask::Read(read) => self.read_for(read).await,
                Ask::Copied(copied) => self.read_copy(copied).await,
                Ask::Offsets { key } => {
                    let answer = match self.route(&key, ErrorCode::None) {
                        Ok(Route::Here(replica, log)) => {
                            let Bounds { log_start, hw } = self.bounds_here(&replica, &log).await;
                            Answer::Offsets { log_start, hw }
                        }
                        _ => Answer::Refused(Refused::NotLeader),
                    };
                    (answer, Bytes::new())
                }
            };
            only(&answer, payload)
        }
        .boxed()
    }
}
