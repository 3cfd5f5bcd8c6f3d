//! Who was promised what: every acknowledged record with its place and hash, and the check after a fault that
//! nothing of it is missing, altered or out of order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fluvio::{
    Fluvio, FluvioClusterConfig, Isolation, RecordKey, TopicProducerConfigBuilder, TopicProducerPool,
};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::stream::{self, Read};
use crate::tenant::Tenant;

/// Records sent before their acknowledgements are awaited.
const ROUND: u64 = 50;
/// A record that is not acknowledged by then was promised nothing.
const ROUND_WITHIN: Duration = Duration::from_secs(10);

type Hash = [u8; 32];

/// What was acknowledged in one topic.
#[derive(Debug, Default)]
pub struct Promises {
    acknowledged: BTreeMap<(u32, i64), Hash>,
    /// How many rounds ended in an error; the fault was felt.
    pub errors: u64,
}

impl Promises {
    pub fn note(&mut self, partition: u32, offset: i64, value: &[u8]) -> anyhow::Result<()> {
        let hash: Hash = Sha256::digest(value).into();
        if self.acknowledged.insert((partition, offset), hash).is_some() {
            bail!("offset {offset} of partition {partition} was acknowledged twice");
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Compares one partition, read from its beginning, with what was promised.
    pub fn check(&self, partition: u32, records: &[Read]) -> anyhow::Result<()> {
        self.check_promised(partition, records)?;
        in_order(records.iter())
    }

    /// The same where what was given up may still be done: only what was acknowledged is in order. A server that was
    /// stopped finds requests in its sockets that nobody waits for any more. And the published client (0.50.1) lets
    /// a request that it began just as its connection ended wait for 60 s; after that its task sends the batches that
    /// waited behind it, though their producer was dropped long ago.
    pub fn check_promised(&self, partition: u32, records: &[Read]) -> anyhow::Result<()> {
        for (index, record) in records.iter().enumerate() {
            ensure!(
                record.offset == i64::try_from(index)?,
                "a hole: offset {} at place {index}",
                record.offset
            );
        }
        for ((_, offset), hash) in self.acknowledged.range((partition, 0)..=(partition, i64::MAX)) {
            let index = usize::try_from(*offset)?;
            let record = records.get(index).with_context(|| {
                format!(
                    "lost: offset {offset} of partition {partition} was acknowledged, the log has {}",
                    records.len()
                )
            })?;
            let found: Hash = Sha256::digest(&record.value).into();
            ensure!(found == *hash, "altered: offset {offset} of partition {partition}");
        }
        let promised = |record: &&Read| self.acknowledged.contains_key(&(partition, record.offset));
        in_order(records.iter().filter(promised))
    }
}

/// Every record tells its number; a writer that repeats one after an error repeats, but never steps back beyond it.
fn in_order<'a>(records: impl Iterator<Item = &'a Read>) -> anyhow::Result<()> {
    let mut seen = std::collections::HashSet::new();
    let mut last_new = None;
    for record in records {
        let number: u64 =
            std::str::from_utf8(&record.value)?.split(' ').next().context("no number")?.parse()?;
        if seen.insert(number) {
            ensure!(
                last_new.is_none_or(|last| last < number),
                "reordered: {number} came first after {last_new:?}"
            );
            last_new = Some(number);
        }
    }
    Ok(())
}

/// A writer that goes on through faults, and remembers what it was promised.
#[derive(Debug)]
pub struct Load {
    topic: String,
    partitions: u32,
    promises: Arc<Mutex<Promises>>,
    stop: Arc<AtomicBool>,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Load {
    /// Starts to write to a fresh topic.
    pub async fn start(tenant: &Tenant, topic: &str, partitions: u32) -> anyhow::Result<Load> {
        Load::copied(tenant, topic, partitions, 1).await
    }

    /// The same with so many copies of each partition.
    pub async fn copied(tenant: &Tenant, topic: &str, partitions: u32, copies: u32) -> anyhow::Result<Load> {
        stream::create_copied_topic(&tenant.admin().await?, topic, partitions, copies).await?;
        let promises = Arc::new(Mutex::new(Promises::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            profile: tenant.profile()?,
            topic: topic.to_string(),
            promises: promises.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(writer.run());
        let load = Load { topic: topic.to_string(), partitions, promises, stop, task: Some(task) };
        load.wait_for_more(200).await?;
        Ok(load)
    }

    pub fn acknowledged(&self) -> usize {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn errors(&self) -> u64 {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).errors
    }

    /// Waits until that many more records were acknowledged: the writer is, or is again, at work.
    pub async fn wait_for_more(&self, more: usize) -> anyhow::Result<()> {
        let goal = self.acknowledged() + more;
        crate::wait::until("the writer goes on", Duration::from_secs(60), async || {
            if self.task.as_ref().is_some_and(JoinHandle::is_finished) {
                bail!("the writer ended");
            }
            Ok((self.acknowledged() >= goal).then_some(()))
        })
        .await
    }

    /// Stops, reads everything back and compares. Returns how many acknowledged records were found.
    pub async fn verify(mut self, tenant: &Tenant) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.take().context("it runs")?.await??;
        let client = tenant.client().await?;
        for partition in 0..self.partitions {
            let records = stream::read_all(&client, &self.topic, partition, Isolation::ReadCommitted).await?;
            let promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
            promises.check_promised(partition, &records).with_context(|| format!("topic {}", self.topic))?;
        }
        let count = self.acknowledged();
        ensure!(count > 0, "nothing was acknowledged");
        Ok(count)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

struct Writer {
    profile: FluvioClusterConfig,
    topic: String,
    promises: Arc<Mutex<Promises>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    /// Rounds of records until told to stop; after an error a new client, and numbers that never come again.
    async fn run(self) -> anyhow::Result<()> {
        let mut next = 0;
        let mut producer = None;
        while !self.stop.load(Ordering::Relaxed) {
            if producer.is_none() {
                producer = tokio::time::timeout(ROUND_WITHIN, self.connect()).await.ok().and_then(Result::ok);
            }
            let Some(current) = &producer else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let whole = tokio::time::timeout(ROUND_WITHIN, self.round(current, next)).await;
            next += ROUND;
            match whole {
                Ok(Ok(true)) => {}
                Ok(Err(broken)) => return Err(broken),
                Ok(Ok(false)) | Err(_) => {
                    self.promises.lock().unwrap_or_else(PoisonError::into_inner).errors += 1;
                    producer = None;
                }
            }
        }
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<TopicProducerPool> {
        let client = Fluvio::connect_with_config(&self.profile).await?;
        let config = TopicProducerConfigBuilder::default().linger(Duration::ZERO).build()?;
        client.topic_producer_with_config(&self.topic, config).await
    }

    /// One round; false when any record of it was not acknowledged. An error is a broken promise.
    async fn round(&self, producer: &TopicProducerPool, from: u64) -> anyhow::Result<bool> {
        let mut pending = Vec::new();
        for number in from..from + ROUND {
            let value = format!("{number} {}", "z".repeat((number % 97) as usize)).into_bytes();
            match producer.send(RecordKey::NULL, value.clone()).await {
                Ok(output) => pending.push((value, output)),
                Err(_) => break,
            }
        }
        let mut whole = producer.flush().await.is_ok() && pending.len() as u64 == ROUND;
        for (value, output) in pending {
            match output.wait().await {
                Ok(metadata) => {
                    let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
                    promises.note(metadata.partition_id(), metadata.offset(), &value)?;
                }
                Err(_) => whole = false,
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, value: &str) -> Read {
        Read { offset, key: None, value: value.as_bytes().to_vec() }
    }

    fn promises(of: &[(i64, &str)]) -> Promises {
        let mut promises = Promises::default();
        for (offset, value) in of {
            promises.note(0, *offset, value.as_bytes()).unwrap();
        }
        promises
    }

    #[test]
    fn what_is_there_is_accepted_and_more_than_promised_too() {
        promises(&[(0, "0 a"), (1, "1 b")])
            .check(0, &[record(0, "0 a"), record(1, "1 b"), record(2, "2 c")])
            .unwrap();
    }

    #[test]
    fn a_lost_an_altered_a_missing_and_a_reordered_record_are_each_named() {
        let promised = promises(&[(0, "0 a"), (1, "1 b")]);
        for (records, word) in [
            (vec![record(0, "0 a")], "lost"),
            (vec![record(0, "0 a"), record(1, "1 c")], "altered"),
            (vec![record(0, "0 a"), record(2, "1 b")], "hole"),
            (vec![record(0, "0 a"), record(1, "1 b"), record(2, "9 x"), record(3, "4 x")], "reordered"),
        ] {
            let error = promised.check(0, &records).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_was_given_up_may_come_late_but_nothing_that_was_promised() {
        let late = [record(0, "0 a"), record(1, "9 x"), record(2, "4 x")];
        promises(&[(0, "0 a"), (1, "9 x")]).check_promised(0, &late).unwrap();
        let error = promises(&[(1, "9 x"), (2, "4 x")]).check_promised(0, &late).unwrap_err().to_string();
        assert!(error.contains("reordered"), "{error}");
    }

    #[test]
    fn one_place_is_promised_once() {
        let mut promised = promises(&[(0, "0 a")]);
        assert!(promised.note(0, 0, b"1 b").is_err());
    }
}
