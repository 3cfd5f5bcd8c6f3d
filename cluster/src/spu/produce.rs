//! Produce: checks what came, stores it in order, and answers when it is durable.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cluster_storage::batch::{self, Batch, BatchError, Codec, Limits};
use cluster_storage::{AppendError, Partition, Ticket};
use tokio::time::timeout;

use super::compressed::{Allowance, Refused};
use super::copies::Lead;
use super::patience::{Patience, timed_out};
use super::route::Route;
use super::turns::Turn;
use super::{Replica, Spu, changed};
use crate::access::{Action, On};
use crate::connection::{Close, Session};
use crate::link::PartitionKey;
use crate::sc::topic::Compression;
use crate::usage::Usage;
use crate::wire::schema::ReplicaKey;
use crate::wire::{
    Acks, ErrorCode, Frame, Header, ProduceEntry, ProduceRequest, ProducedEntry, guarded, produce_response,
};

/// Batches in one entry; clients send one.
const BATCHES_IN_ENTRY: usize = 4096;

/// Compressed bytes of an entry that are tried where the request is handled; opening them costs less than
/// another thread does.
const OPENED_AT_ONCE: usize = 4 << 10;

/// An entry on its way.
enum Entry {
    /// Queued for this SPU's own log.
    Here(Queued),
    /// Done by the SPU that leads the partition.
    Done(Outcome),
}

/// An entry in the queue of a log of this SPU.
pub(super) struct Queued {
    replica: Arc<Replica>,
    log: Partition,
    ticket: Ticket,
    n_records: i64,
    n_bytes: usize,
}

/// Where records ended up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Offset of the first one.
    pub(super) base_offset: i64,
    /// First offset of the log.
    pub(super) log_start: i64,
}

pub(super) type Outcome = Result<Stored, ErrorCode>;

impl Spu {
    /// Stores the request's batches, of the topics that the client may produce to, and answers each entry. The requests
    /// of one connection queue their batches in turn, and wait for the disk together.
    pub(super) async fn produce(
        self: Arc<Self>,
        header: Header,
        request: ProduceRequest,
        turn: Turn,
        session: Arc<Session>,
    ) -> Result<Frame, Close> {
        let patience = Patience::from_now(request.timeout);
        // Those before end before this one would: they came earlier.
        let next = turn.come().await;
        let mut allowance = Allowance::default();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let permitted = session.may(Action::Produce, On::Topic(&topic.name));
            let mut entries = Vec::with_capacity(topic.entries.len());
            for entry in topic.entries {
                let partition = entry.partition;
                let queued = match permitted {
                    true => self.queue(&topic.name, entry, patience, &mut allowance).await,
                    false => Err(ErrorCode::PermissionDenied),
                };
                entries.push((partition, queued));
            }
            topics.push((topic.name, entries));
        }
        drop(next);
        let mut answers = Vec::with_capacity(topics.len());
        for (name, queued) in topics {
            let mut entries = Vec::with_capacity(queued.len());
            for (partition, queued) in queued {
                let outcome = match queued {
                    Ok(Entry::Here(queued)) => self.finish(queued, request.acks, patience).await,
                    Ok(Entry::Done(outcome)) => outcome,
                    Err(error) => Err(error),
                };
                entries.push(self.answer(partition, outcome));
            }
            answers.push((name, entries));
        }
        Ok(produce_response(&header, answers)?)
    }

    /// The same error for every entry, in the shape of the request.
    pub(super) fn refuse_produce(
        &self,
        header: &Header,
        request: ProduceRequest,
        error: &ErrorCode,
    ) -> Result<Frame, Close> {
        let answers = request.topics.into_iter().map(|topic| {
            let refuse = |entry: ProduceEntry| self.answer(entry.partition, Err(error.clone()));
            (topic.name, topic.entries.into_iter().map(refuse).collect())
        });
        Ok(produce_response(header, answers.collect())?)
    }

    fn answer(&self, partition: u32, outcome: Outcome) -> ProducedEntry {
        match outcome {
            Ok(stored) => ProducedEntry {
                partition,
                error: ErrorCode::None,
                base_offset: stored.base_offset,
                log_start_offset: stored.log_start,
            },
            Err(error) => {
                self.usage.request_errors.add(1);
                ProducedEntry { partition, error, base_offset: -1, log_start_offset: -1 }
            }
        }
    }

    /// Puts one entry into its partition's queue, or has it stored by the SPU that leads the partition. While nobody
    /// does, it is held.
    async fn queue(
        &self,
        topic: &str,
        entry: ProduceEntry,
        patience: Patience,
        allowance: &mut Allowance,
    ) -> Result<Entry, ErrorCode> {
        let key = PartitionKey { topic: topic.to_owned(), partition: entry.partition };
        loop {
            patience.check()?;
            match self.route(&key, ErrorCode::NotLeaderForPartition)? {
                Route::Here(replica, log) => {
                    let over = self.over(&replica);
                    let queued = self.queue_here(replica, log, entry.clone(), patience, allowance);
                    tokio::select! {
                        queued = queued => return queued.map(Entry::Here),
                        // Nothing was queued, since its log had no room.
                        () = over => {}
                    }
                }
                Route::There(leader) => {
                    if let Some(outcome) =
                        self.produce_there(leader.spu, &key, &entry.records, patience).await
                    {
                        return Ok(Entry::Done(outcome));
                    }
                }
                Route::Soon => {}
            }
            self.rerouted(patience.held()).await?;
        }
    }

    /// Checks one entry and puts it into the queue of a log of this SPU.
    pub(super) async fn queue_here(
        &self,
        replica: Arc<Replica>,
        log: Partition,
        entry: ProduceEntry,
        patience: Patience,
        allowance: &mut Allowance,
    ) -> Result<Queued, ErrorCode> {
        if replica.assignment.options.system {
            // Consumers' offsets are written by their own requests only.
            return Err(ErrorCode::PermissionDenied);
        }
        let n_bytes = entry.records.len();
        let limits = Limits { batch_bytes: self.message_bytes(), batches: BATCHES_IN_ENTRY };
        let batches = batch::split(&entry.records, limits).map_err(refused_batch)?;
        for batch in &batches {
            if !accepts(replica.assignment.options.compression, batch.header().codec()) {
                return Err(ErrorCode::CompressionError);
            }
            batch.check_records().map_err(refused_batch)?;
        }
        let batches = self.look_into(batches, patience, allowance).await?;
        let n_records = batches.iter().map(|batch: &Batch| batch.header().records()).sum();
        let key = &replica.assignment.key;
        let limit = patience.left();
        let queued = log.enqueue_in(Replica::epoch_of(&replica.assignment), batches);
        let queued = timeout(limit, queued).await.map_err(|_| timed_out(limit))?;
        let ticket = queued.map_err(|error| refused_append(error, key))?;
        Ok(Queued { replica, log, ticket, n_records, n_bytes })
    }

    /// Looks into compressed batches: off the threads that serve everybody unless there is little to open.
    async fn look_into(
        &self,
        batches: Vec<Batch>,
        patience: Patience,
        allowance: &mut Allowance,
    ) -> Result<Vec<Batch>, ErrorCode> {
        let closed: Vec<usize> = batches
            .iter()
            .filter(|batch| batch.header().codec() != Codec::None)
            .map(|batch| batch.payload().len())
            .collect();
        if closed.is_empty() {
            return Ok(batches);
        }
        if closed.iter().sum::<usize>() <= OPENED_AT_ONCE {
            match guarded_look(&self.usage, || allowance.check_at_once(&batches)) {
                Err(Refused::TooLarge(_)) => {}
                looked => return looked.map(|()| batches).map_err(refused_compressed),
            }
        }
        let place = Arc::clone(&self.opening).acquire_owned();
        let limit = patience.opening();
        let place = timeout(limit, place).await.map_err(|_| timed_out(limit))?;
        let (usage, mut left) = (Arc::clone(&self.usage), *allowance);
        let look = move || {
            // Held until the work is done, also when nobody waits for it any more.
            let _place = place;
            let looked = guarded_look(&usage, || left.check(&batches));
            (looked, left, batches)
        };
        // It cannot panic, so this fails only when the process ends.
        let looked = tokio::task::spawn_blocking(look).await;
        let (looked, left, batches) = looked.map_err(|_| ErrorCode::NotLeaderForPartition)?;
        *allowance = left;
        looked.map(|()| batches).map_err(refused_compressed)
    }

    /// Waits until an entry is durable and, where it was asked for or others have copies, committed.
    pub(super) async fn finish(&self, queued: Queued, acks: Acks, patience: Patience) -> Outcome {
        let Queued { replica, log, ticket, n_records, n_bytes } = queued;
        let limit = patience.disk();
        let stored = tokio::select! {
            biased;
            stored = timeout(limit, ticket) => stored.map_err(|_| timed_out(limit))?,
            // Its disk hangs, and another copy leads.
            () = self.over(&replica) => return Err(ErrorCode::NotLeaderForPartition),
        };
        let appended = stored.map_err(|error| refused_append(error, &replica.assignment.key))?;
        self.usage.records_in.add(u64::try_from(n_records).unwrap_or(0));
        self.usage.record_bytes_in.add(n_bytes as u64);
        self.report(&replica);
        // The copies that there are by now count: one that was added meanwhile may be asked to lead, or leads already.
        let key = &replica.assignment.key;
        let same = |now: &Arc<Replica>| now.leads && now.is_led_as(&replica.assignment);
        let now = self.replicas.get(&key.topic, key.partition).filter(same);
        let replica = now.ok_or(ErrorCode::NotLeaderForPartition)?;
        let lead = self.leads.get(&replica.assignment.key);
        let lead = lead.filter(|lead| lead.is_of(&replica.assignment));
        if replica.has_copies() || lead.is_some() {
            let lead = lead.ok_or(ErrorCode::NotLeaderForPartition)?;
            committed_by_all(&lead, &log, appended.next_offset, patience.copies()).await?;
        } else if acks == Acks::Committed {
            let committed = committed(&log, appended.next_offset);
            let limit = patience.asked();
            timeout(limit, committed).await.map_err(|_| timed_out(limit))?;
        }
        Ok(Stored { base_offset: appended.base_offset, log_start: appended.log_start })
    }

    /// Returns when this SPU's lead of a partition with copies is over.
    fn over(&self, replica: &Replica) -> impl Future<Output = ()> + use<> {
        let lead = self.leads.get(&replica.assignment.key).filter(|lead| lead.is_of(&replica.assignment));
        async move {
            match lead {
                Some(lead) => lead.over().cancelled().await,
                None => std::future::pending().await,
            }
        }
    }

    /// The largest batch that this cluster takes.
    pub(super) fn message_bytes(&self) -> usize {
        let policy = self.policy.borrow();
        let bytes = policy.as_ref().map_or(0, |policy| policy.settings.limits.message_bytes);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Whatever the producer asked for, an acknowledgement means that every copy in sync has the records.
pub(super) async fn committed_by_all(
    lead: &Lead,
    log: &Partition,
    offset: i64,
    patience: Duration,
) -> Result<(), ErrorCode> {
    let over = lead.over();
    tokio::select! {
        // First: once it is over, the mark is the next leader's, who may have these records or others in their place.
        biased;
        () = over.cancelled() => Err(ErrorCode::NotLeaderForPartition),
        committed = timeout(patience, committed(log, offset)) => committed.map_err(|_| timed_out(patience)),
    }
}

/// Returns when everything before `offset` is committed.
async fn committed(log: &Partition, offset: i64) {
    let mut high_watermark = log.watch_hw();
    while *high_watermark.borrow_and_update() < offset {
        changed(&mut high_watermark).await;
    }
}

/// Whether a topic takes batches of this codec.
fn accepts(topic: Compression, batch: Codec) -> bool {
    match topic {
        Compression::Any => true,
        Compression::None => batch == Codec::None,
        Compression::Gzip => batch == Codec::Gzip,
        Compression::Snappy => batch == Codec::Snappy,
        Compression::Lz4 => batch == Codec::Lz4,
        Compression::Zstd => batch == Codec::Zstd,
    }
}

/// The decoders meet bytes made to break them: one that panics is a decoder that refused.
fn guarded_look(usage: &Usage, look: impl FnOnce() -> Result<(), Refused>) -> Result<(), Refused> {
    guarded(usage, || Ok::<_, Infallible>(look())).unwrap_or(Err(Refused::NotItsCodec))
}

fn refused_compressed(refused: Refused) -> ErrorCode {
    tracing::debug!(%refused, "a compressed batch was refused");
    match refused {
        Refused::NotItsCodec => ErrorCode::CompressionError,
        Refused::TooLarge(_) => ErrorCode::MessageTooLarge,
        Refused::Records(_) => ErrorCode::Other(format!("the records were refused: {refused}")),
    }
}

fn refused_batch(error: BatchError) -> ErrorCode {
    match error {
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        other => ErrorCode::Other(format!("the records were refused: {other}")),
    }
}

fn refused_append(error: AppendError, key: &PartitionKey) -> ErrorCode {
    match error {
        AppendError::Full(full) => {
            tracing::warn!(partition = %key, %full, "no room for a produce request");
            let replica_key = ReplicaKey { topic: key.topic.clone(), partition: key.partition };
            ErrorCode::PartitionFull { replica_key }
        }
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::ReadOnly { .. } => ErrorCode::StorageError,
        AppendError::Closed | AppendError::OtherEpoch | AppendError::OutOfOrder { .. } => {
            ErrorCode::NotLeaderForPartition
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_takes_its_codec_and_any_takes_all() {
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        let fixed = [
            (Compression::None, Codec::None),
            (Compression::Gzip, Codec::Gzip),
            (Compression::Snappy, Codec::Snappy),
            (Compression::Lz4, Codec::Lz4),
            (Compression::Zstd, Codec::Zstd),
        ];
        for codec in codecs {
            assert!(accepts(Compression::Any, codec));
            for (topic, own) in fixed {
                assert_eq!(accepts(topic, codec), codec == own, "{topic:?} {codec:?}");
            }
        }
    }
}
