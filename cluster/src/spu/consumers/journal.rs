//! The partition behind the table.
//!
//! The table is what reading the log from its start gives. When most of the log is superseded, all living
//! entries are written once more at its end and the oldest segments are let go: whatever a crash leaves of
//! that reads to the same table, since the copy is on disk before anything older goes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Buf;
use cluster_storage::batch::Batch;
use cluster_storage::{Isolation, Partition};
use tracing::{info, warn};

use super::record;
use super::table::{Entry, Key, Table};
use crate::link::{ConsumerOffset, OffsetsAnswer, OffsetsCall, OffsetsRequest, PartitionKey, View, bytes_of};
use crate::spu::copies::Lead;
use crate::spu::produce::committed_by_all;
use crate::spu::{Replica, Spu};
use crate::usage::Usage;
use crate::wire::{record_batch, records_of};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// Entries in one batch of a copy.
const COPIED_AT_ONCE: usize = 1000;
/// How long the copies may take.
const COPIES_PATIENCE: Duration = Duration::from_secs(8);
/// A list of consumers on the link, where a frame above 16 MiB would end it.
const LIST_BYTES_MAX: u64 = 8 << 20;
/// A consumer's name.
const MOST_NAME_BYTES: usize = 1024;

type Change = (Key, Option<Entry>);

/// The offsets of one incarnation of the system topic.
pub(super) struct Journal {
    replica: Arc<Replica>,
    log: Partition,
    /// Where there are copies.
    lead: Option<Arc<Lead>>,
    table: Table,
    usage: Arc<Usage>,
}

impl Journal {
    /// Whether it is the journal of this replica as it is assigned now.
    pub(super) fn is_of(&self, replica: &Arc<Replica>) -> bool {
        Arc::ptr_eq(&self.replica, replica)
    }

    /// Reads the whole partition.
    pub(super) async fn open(
        spu: &Arc<Spu>,
        replica: Arc<Replica>,
        log: Partition,
        lead: Option<Arc<Lead>>,
    ) -> Result<Self, String> {
        let usage = Arc::clone(&spu.usage);
        let mut journal = Self { replica, log, lead, table: Table::default(), usage };
        let mut position = journal.log.offsets().log_start;
        while position < journal.log.offsets().leo {
            let wanted = (position, READ_BYTES, Isolation::Uncommitted);
            let slice = spu.read_whole(&journal.replica.assignment.key, &journal.log, wanted).await;
            let slice = slice.map_err(|error| format!("the consumer offsets cannot be read: {error}"))?;
            if slice.bytes.is_empty() {
                break;
            }
            position = slice.next_offset;
            journal.read(slice.bytes)?;
        }
        Ok(journal)
    }

    fn read(&mut self, mut batches: bytes::Bytes) -> Result<(), String> {
        let damaged = |error: String| format!("the consumer offsets cannot be read: {error}");
        while batches.has_remaining() {
            let batch = Batch::parse(&batches).map_err(|error| damaged(error.to_string()))?;
            batches.advance(batch.bytes().len());
            let records = records_of(&self.usage, &batch).map_err(|error| damaged(error.to_string()))?;
            for stored in records {
                let (key, entry) = record::decode(stored).map_err(|error| damaged(error.to_string()))?;
                self.table.apply(key, entry);
            }
        }
        Ok(())
    }

    /// Does what is asked, all changes in one write. Lists are made after it. False if it has to be read anew: what
    /// was not stored may turn out to be.
    pub(super) async fn answer(&mut self, view: &View, calls: Vec<OffsetsCall>) -> bool {
        self.table.keep_living(view);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let planned: Vec<Result<Option<Change>, String>> =
            calls.iter().map(|call| self.plan(view, &call.request, now.as_secs())).collect();
        let changes: Vec<Change> = planned.iter().filter_map(|plan| plan.clone().ok().flatten()).collect();
        let stored = self.store(changes).await;
        for (call, plan) in calls.into_iter().zip(planned) {
            let answer = match (&stored, plan, &call.request) {
                (_, Err(why), _) => OffsetsAnswer::Failed(why),
                (_, _, OffsetsRequest::Fetch { consumer_id, key }) => {
                    listed(self.table.list(consumer_id.as_deref(), key.as_ref()))
                }
                (Err(why), Ok(Some(_)), _) => OffsetsAnswer::NotNow(why.clone()),
                (_, Ok(_), _) => OffsetsAnswer::Done,
            };
            // Whoever gave up waiting needs no answer.
            let _ = call.reply.send(answer);
        }
        if stored.is_ok() && self.table.is_stale() {
            self.compact().await;
        }
        stored.is_ok()
    }

    /// The record that a request makes; none for one that changes nothing.
    fn plan(&self, view: &View, request: &OffsetsRequest, now: u64) -> Result<Option<Change>, String> {
        match request {
            OffsetsRequest::Fetch { .. } => Ok(None),
            OffsetsRequest::Update { consumer_id, key, offset } => {
                if consumer_id.is_empty() || consumer_id.len() > MOST_NAME_BYTES {
                    return Err(format!("a consumer's name has 1 to {MOST_NAME_BYTES} bytes"));
                }
                let key = living(view, consumer_id, key)?;
                if !self.table.has_room_for(&key) {
                    return Err("the cluster keeps as many consumers as it may: delete some".into());
                }
                Ok(Some((key, Some(Entry { offset: *offset, modified: now }))))
            }
            OffsetsRequest::Delete { consumer_id, key } => {
                let key = living(view, consumer_id, key)?;
                Ok(self.table.contains(&key).then_some((key, None)))
            }
        }
    }

    async fn store(&mut self, changes: Vec<Change>) -> Result<(), String> {
        if changes.is_empty() {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| format!("the offset was not stored: {error}");
        let records: Vec<_> =
            changes.iter().map(|(key, entry)| record::encode(key, entry.as_ref())).collect();
        self.append(&records).await.map_err(|error| failed(&error))?;
        for (key, entry) in changes {
            self.table.apply(key, entry);
        }
        Ok(())
    }

    /// Returns the offset of the first.
    async fn append(&self, records: &[crate::wire::KeyValue]) -> Result<i64, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let bytes = record_batch(records, now_ms).map_err(|error| error.to_string())?;
        let batch = Batch::parse(&bytes).map_err(|error| error.to_string())?;
        let epoch = Replica::epoch_of(&self.replica.assignment);
        let queued = self.log.enqueue_in(epoch, vec![batch]).await.map_err(|error| error.to_string())?;
        let appended = queued.await.map_err(|error| error.to_string())?;
        if let Some(lead) = &self.lead {
            let committed = committed_by_all(lead, &self.log, appended.next_offset, COPIES_PATIENCE).await;
            committed.map_err(|_| "its copies did not take it")?;
        }
        Ok(appended.base_offset)
    }

    /// Writes the living entries once more and lets go of the segments before them.
    async fn compact(&mut self) {
        match self.copy_living().await {
            Ok(copy_begins) => {
                self.table.compacted();
                // The copy is committed, so nothing before it is needed. Its followers do the same.
                self.log.let_go(copy_begins);
                info!(entries = self.table.entries().count(), copy_begins, "compacted");
            }
            Err(why) => warn!(%why, "the consumer offsets were not compacted; they grow until the next try"),
        }
    }

    async fn copy_living(&self) -> Result<i64, String> {
        let living: Vec<_> =
            self.table.entries().map(|(key, entry)| record::encode(key, Some(entry))).collect();
        let mut begins = None;
        for records in living.chunks(COPIED_AT_ONCE) {
            let at = self.append(records).await?;
            begins = begins.or(Some(at));
        }
        Ok(begins.unwrap_or_else(|| self.log.offsets().leo))
    }
}

/// A list that fits into a frame of the link, by which it may have to go to another SPU.
fn listed(found: Vec<ConsumerOffset>) -> OffsetsAnswer {
    if bytes_of(&found).is_ok_and(|bytes| bytes <= LIST_BYTES_MAX) {
        return OffsetsAnswer::Consumers(found);
    }
    let n_found = found.len();
    OffsetsAnswer::Failed(format!(
        "{n_found} consumers do not fit into one list: ask for fewer, by name or partition"
    ))
}

/// The key of a consumer of a topic that there is.
fn living(view: &View, consumer: &str, replica: &PartitionKey) -> Result<Key, String> {
    let topic_id = view.topics.get(&replica.topic).copied();
    let topic_id = topic_id.ok_or_else(|| format!("there is no topic {:?}", replica.topic))?;
    Ok(Key { replica: replica.clone(), consumer: consumer.to_owned(), topic_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_would_end_the_link_is_refused_and_says_what_to_ask_for() {
        let key = PartitionKey { topic: "numbers".into(), partition: 0 };
        // Each byte of such a name takes six on the link.
        let consumer_id = "\u{1}".repeat(MOST_NAME_BYTES);
        let one = ConsumerOffset { consumer_id, key, offset: 7, modified: 1_700_000_000 };
        assert!(
            matches!(listed(vec![one.clone(); 1300]), OffsetsAnswer::Consumers(all) if all.len() == 1300)
        );
        let OffsetsAnswer::Failed(why) = listed(vec![one; 1400]) else { panic!("the list is too large") };
        assert!(why.starts_with("1400 consumers do not fit"), "{why}");
    }
}
