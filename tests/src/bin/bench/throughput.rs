//! Records of 1 KiB in batches of 500 kB, produced and consumed, beside Kafka with the same guarantee.

use std::io::Write;
use std::time::{Duration, Instant};

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

use crate::kafka::Kafka;
use crate::report::{Better, Figure, Report, median};

pub const RECORDS: usize = 200_000;
pub const RECORD_BYTES: usize = 1_024;
pub const BATCH_BYTES: usize = 500_000;
const RUN_WITHIN: Duration = Duration::from_secs(120);

pub async fn measure(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("throughput, {runs} runs of {RECORDS} records, Kafka in turn");
    warm_the_disk(cloud.state())?;
    let kafka = Kafka::start()?;
    let (mut produced, mut consumed, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fsync, mut their_reads) = (Vec::new(), Vec::new());
    for run in 0..runs {
        fsync.push(floor::at(&floor::fsync(cloud.state(), 500)?, 0.5).as_secs_f64() * 1e3);
        let topic = format!("bulk-{run}");
        // In turn, and every other time the other way round: neither always has the warmer machine.
        if run % 2 == 1 {
            theirs.push(kafka.produce(&topic)?);
            their_reads.push(kafka.consume(&topic)?);
        }
        let (produce, consume) = ours(tenant, &topic).await?;
        produced.push(produce);
        consumed.push(consume);
        if run % 2 == 0 {
            theirs.push(kafka.produce(&topic)?);
            their_reads.push(kafka.consume(&topic)?);
        }
    }
    let path = "published Rust client, mutual TLS, through the gateway, fsynced";
    let peer = median(&theirs);
    report.add(
        Figure::of(
            &format!("produce 1 KiB records in batches of 500 kB, {path}"),
            "records/s",
            Better::Higher,
            produced,
        )
        .target(150_000.0)
        .hard_floor(peer)
        .beside("peer: Kafka 4.1.0 over TLS, flushing each batch (records/s)", peer)
        .beside("floor: append 1 KiB and fdatasync, p50 (ms)", median(&fsync)),
    );
    report.add(
        Figure::of(
            "consume them, same client and path, every record compared",
            "MB/s",
            Better::Higher,
            consumed,
        )
        .target(250.0)
        .beside("peer: Kafka 4.1.0 over TLS (MB/s)", median(&their_reads)),
    );
    Ok(())
}

/// Blocks that were never written are slow on thin disks, for whoever comes first.
fn warm_the_disk(folder: &std::path::Path) -> anyhow::Result<()> {
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
    let seed = u64::try_from(number).unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut value = Vec::with_capacity(RECORD_BYTES);
    value.extend_from_slice(&u64::try_from(number).unwrap_or(0).to_be_bytes());
    while value.len() < RECORD_BYTES {
        value
            .extend_from_slice(&seed.rotate_left(u32::try_from(value.len() % 61).unwrap_or(0)).to_be_bytes());
    }
    value.truncate(RECORD_BYTES);
    value
}

/// Records a second in, megabytes a second out.
async fn ours(tenant: &Tenant, topic: &str) -> anyhow::Result<(f64, f64)> {
    let values: Vec<Vec<u8>> = (0..RECORDS).map(value).collect();
    let client = Fluvio::connect_with_config(&tenant.profile()?).await?;
    let admin = client.admin().await;
    stream::create_topic(&admin, topic, 1).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.batch_size(BATCH_BYTES).linger(Duration::from_millis(10));
    let producer = stream::producer_with(&client, topic, config).await?;
    let sending = values.clone();
    let begun = Instant::now();
    let work = async {
        let mut last = None;
        for value in sending {
            last = Some(producer.send(RecordKey::NULL, value).await?);
        }
        producer.flush().await?;
        let last = last.context("something was sent")?.wait().await?;
        ensure!(usize::try_from(last.offset())? + 1 == RECORDS, "the last offset is {}", last.offset());
        anyhow::Ok(())
    };
    within("all is acknowledged", RUN_WITHIN, work).await?;
    let produced = RECORDS as f64 / begun.elapsed().as_secs_f64();

    let reader = Fluvio::connect_with_config(&tenant.profile()?).await?;
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic(topic).partition(0).offset_start(Offset::beginning()).max_bytes(8 << 20);
    let config = config.build()?;
    let begun = Instant::now();
    let work = async {
        let mut records = reader.consumer_with_config(config).await?;
        let mut found = Vec::with_capacity(RECORDS);
        while found.len() < RECORDS {
            let record = records.next().await.context("the stream ended")?;
            found.push(record.map_err(|code| anyhow::anyhow!("{code:?}"))?);
        }
        anyhow::Ok(found)
    };
    let found = within("all is consumed", RUN_WITHIN, work).await?;
    let consumed = (RECORDS * RECORD_BYTES) as f64 / begun.elapsed().as_secs_f64() / 1e6;
    for (number, (record, value)) in found.iter().zip(&values).enumerate() {
        ensure!(
            usize::try_from(record.offset())? == number && record.value() == value,
            "record {number} differs"
        );
    }
    within("deleted", stream::STEP_WITHIN, admin.delete::<TopicSpec>(topic.to_string())).await?;
    Ok((produced, consumed))
}
