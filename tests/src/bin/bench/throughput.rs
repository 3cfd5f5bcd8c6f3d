//! Records of 1 KiB in batches of 500 kB, produced and consumed, beside Kafka with the same guarantee.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::floor;
use e2e::stream;
use e2e::tenant::Tenant;
use e2e::wait::within;
use fluvio::consumer::ConsumerConfigExtBuilder;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, Offset, RecordKey, TopicProducerConfigBuilder};
use futures_util::StreamExt;

use crate::kafka::{Flush, Kafka};
use crate::processor::{Clock, Shares, Stretch, Watched};
use crate::report::{Better, Figure, Report, median};

pub const RECORDS: usize = 200_000;
pub const RECORD_BYTES: usize = 1_024;
pub const BATCH_BYTES: usize = 500_000;
const RUN_WITHIN: Duration = Duration::from_secs(120);

pub async fn measure(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("throughput, {runs} runs of {RECORDS} records, Kafka in turn");
    warm_the_disk(cloud.state())?;
    let kafka = Kafka::start()?;
    let (mut produced, mut consumed, mut fsync) = (Vec::new(), Vec::new(), Vec::new());
    let mut theirs = Theirs::default();
    let (mut producing, mut consuming) = (Shares::default(), Shares::default());
    for run in 0..runs {
        fsync.push(floor::at(&floor::fsync(cloud.state(), 500)?, 0.5).as_secs_f64() * 1e3);
        let topic = format!("bulk-{run}");
        // In turn, and every other time the other way round: neither always has the warmer machine.
        if run % 2 == 1 {
            theirs.note(&kafka, &topic)?;
        }
        let ours = ours(cloud, tenant, &topic).await?;
        produced.push(RECORDS as f64 / ours.produced.took);
        consumed.push((RECORDS * RECORD_BYTES) as f64 / ours.consumed.took / 1e6);
        producing.note(&ours.produced);
        consuming.note(&ours.consumed);
        if run % 2 == 0 {
            theirs.note(&kafka, &topic)?;
        }
    }
    let path = "published Rust client, mutual TLS, through the gateway, fsynced";
    let peer = median(&theirs.produced);
    let what = format!("produce 1 KiB records in batches of 500 kB, {path}");
    report.add(
        producing.beside(
            Figure::of(&what, "records/s", Better::Higher, produced)
                .target(193_000.0)
                .hard_floor(peer)
                .beside("peer: Kafka 4.1.0 over TLS, never flushing (records/s)", peer)
                .beside("peer: the same, flushing each batch (records/s)", median(&theirs.flushed))
                .beside("floor: append 1 KiB and fdatasync, p50 (ms)", median(&fsync)),
        ),
    );
    let what = "consume them, same client and path, every record compared";
    report.add(
        consuming.beside(
            Figure::of(what, "MB/s", Better::Higher, consumed)
                .target(250.0)
                .beside("peer: Kafka 4.1.0 over TLS (MB/s)", median(&theirs.consumed)),
        ),
    );
    Ok(())
}

/// The peer's runs: records a second as it comes and flushing each batch, megabytes a second read.
#[derive(Default)]
struct Theirs {
    produced: Vec<f64>,
    flushed: Vec<f64>,
    consumed: Vec<f64>,
}

impl Theirs {
    fn note(&mut self, kafka: &Kafka, topic: &str) -> anyhow::Result<()> {
        let flushed = format!("{topic}-flushed");
        kafka.create_topic(topic, Flush::Never)?;
        kafka.create_topic(&flushed, Flush::EachBatch)?;
        self.produced.push(kafka.produce(topic)?);
        self.flushed.push(kafka.produce(&flushed)?);
        self.consumed.push(kafka.consume(topic)?);
        Ok(())
    }
}

/// Both stretches of one run.
pub struct Run {
    pub produced: Stretch,
    pub consumed: Stretch,
}

/// Blocks that were never written are slow on thin disks, for whoever comes first.
pub fn warm_the_disk(folder: &std::path::Path) -> anyhow::Result<()> {
    let path = folder.join("warm.bin");
    let mut file = std::fs::File::create(&path)?;
    let block = vec![0x5a; 1 << 20];
    for _ in 0..1024 {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// Every record carries its number and a filling that follows from it.
fn value(number: usize) -> Vec<u8> {
    (0..RECORD_BYTES / 8).flat_map(|place| word(number, place).to_be_bytes()).collect()
}

fn word(number: usize, place: usize) -> u64 {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    if place == 0 {
        number
    } else {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left((place % 61) as u32)
    }
}

/// Whether these are the bytes of that record; cheap enough to do while the clock runs.
fn is_value(number: usize, bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let right = |(place, found): (usize, &[u8; 8])| u64::from_be_bytes(*found) == word(number, place);
    rest.is_empty() && words.len() == RECORD_BYTES / 8 && words.iter().enumerate().all(right)
}

/// All records in, then all out.
pub async fn ours(cloud: &Cloud, tenant: &Tenant, topic: &str) -> anyhow::Result<Run> {
    let values: Vec<Vec<u8>> = (0..RECORDS).map(value).collect();
    let watched = Watched::tenant(cloud, tenant);
    let client = Fluvio::connect_with_config(&tenant.profile()?).await?;
    let admin = client.admin().await;
    stream::create_topic(&admin, topic, 1).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.batch_size(BATCH_BYTES).linger(Duration::from_millis(10));
    let producer = stream::producer_with(&client, topic, config).await?;
    let clock = Clock::start(watched.clone())?;
    let work = async {
        let mut last = None;
        for value in values {
            last = Some(producer.send(RecordKey::NULL, value).await?);
        }
        producer.flush().await?;
        let last = last.context("something was sent")?.wait().await?;
        ensure!(usize::try_from(last.offset())? + 1 == RECORDS, "the last offset is {}", last.offset());
        anyhow::Ok(())
    };
    within("all is acknowledged", RUN_WITHIN, work).await?;
    let produced = clock.stop()?;

    let reader = Fluvio::connect_with_config(&tenant.profile()?).await?;
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic(topic).partition(0).offset_start(Offset::beginning()).max_bytes(8 << 20);
    let config = config.build()?;
    let clock = Clock::start(watched.clone())?;
    let work = async {
        let mut records = reader.consumer_with_config(config).await?;
        for number in 0..RECORDS {
            let record = records.next().await.context("the stream ended")?;
            let record = record.map_err(|code| anyhow::anyhow!("{code:?}"))?;
            let right = usize::try_from(record.offset())? == number && is_value(number, record.value());
            ensure!(right, "record {number} came back as another");
        }
        anyhow::Ok(())
    };
    within("all is consumed", RUN_WITHIN, work).await?;
    let consumed = clock.stop()?;
    within("deleted", stream::STEP_WITHIN, admin.delete::<TopicSpec>(topic.to_string())).await?;
    Ok(Run { produced, consumed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_from_every_other() {
        assert!(is_value(7, &value(7)));
        assert!(!is_value(8, &value(7)));
        assert!(!is_value(7, &value(7)[..RECORD_BYTES - 8]));
        let mut altered = value(7);
        altered[RECORD_BYTES - 1] ^= 1;
        assert!(!is_value(7, &altered));
    }
}
