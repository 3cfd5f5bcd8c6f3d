//! Records of 1 KiB in batches of 500 kB, produced and consumed, beside Kafka with the same guarantee.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::floor;
use e2e::processes::Process;
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
    let (mut producing, mut consuming) = (Shares::default(), Shares::default());
    for run in 0..runs {
        fsync.push(floor::at(&floor::fsync(cloud.state(), 500)?, 0.5).as_secs_f64() * 1e3);
        let topic = format!("bulk-{run}");
        // In turn, and every other time the other way round: neither always has the warmer machine.
        if run % 2 == 1 {
            theirs.push(kafka.produce(&topic)?);
            their_reads.push(kafka.consume(&topic)?);
        }
        let ours = ours(cloud, tenant, &topic).await?;
        produced.push(RECORDS as f64 / ours.produced.took);
        consumed.push((RECORDS * RECORD_BYTES) as f64 / ours.consumed.took / 1e6);
        producing.note(&ours.produced);
        consuming.note(&ours.consumed);
        if run % 2 == 0 {
            theirs.push(kafka.produce(&topic)?);
            their_reads.push(kafka.consume(&topic)?);
        }
    }
    let path = "published Rust client, mutual TLS, through the gateway, fsynced";
    let peer = median(&theirs);
    report.add(with_shares(
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
        &producing,
    ));
    report.add(with_shares(
        Figure::of(
            "consume them, same client and path, every record compared",
            "MB/s",
            Better::Higher,
            consumed,
        )
        .target(250.0)
        .beside("peer: Kafka 4.1.0 over TLS (MB/s)", median(&their_reads)),
        &consuming,
    ));
    Ok(())
}

/// One stretch of work: how long it took, and the processor time of each who took part, in seconds.
struct Stretch {
    took: f64,
    client: f64,
    gateway: f64,
    cluster: f64,
}

/// Both stretches of one run.
struct Run {
    produced: Stretch,
    consumed: Stretch,
}

/// Where the processor's time goes, in percent of one core while the stretch lasts; two cores are all there is.
#[derive(Default)]
struct Shares {
    client: Vec<f64>,
    gateway: Vec<f64>,
    cluster: Vec<f64>,
}

impl Shares {
    fn note(&mut self, stretch: &Stretch) {
        self.client.push(stretch.client / stretch.took * 100.0);
        self.gateway.push(stretch.gateway / stretch.took * 100.0);
        self.cluster.push(stretch.cluster / stretch.took * 100.0);
    }
}

fn with_shares(figure: Figure, shares: &Shares) -> Figure {
    figure
        .beside("the client's share of a core (%)", median(&shares.client))
        .beside("the gateway's (%)", median(&shares.gateway))
        .beside("the cluster's (%)", median(&shares.cluster))
}

/// Processor time so far of client, gateway and cluster.
struct Clock {
    begun: Instant,
    used: [f64; 3],
}

impl Clock {
    fn start(cloud: &Cloud, tenant: &Tenant) -> anyhow::Result<Clock> {
        Ok(Clock { used: Clock::look(cloud, tenant)?, begun: Instant::now() })
    }

    fn look(cloud: &Cloud, tenant: &Tenant) -> anyhow::Result<[f64; 3]> {
        let own = Process { pid: i32::try_from(std::process::id())?, arguments: Vec::new() };
        let sum = |all: Vec<Process>| -> anyhow::Result<f64> {
            Ok(all.iter().map(Process::processor_time).sum::<anyhow::Result<Duration>>()?.as_secs_f64())
        };
        Ok([sum(vec![own])?, sum(cloud.program("gateway"))?, sum(cloud.cluster(&tenant.cluster.id))?])
    }

    fn stop(self, cloud: &Cloud, tenant: &Tenant) -> anyhow::Result<Stretch> {
        let took = self.begun.elapsed().as_secs_f64();
        let now = Clock::look(cloud, tenant)?;
        let [client, gateway, cluster] = [0, 1, 2].map(|who| now[who] - self.used[who]);
        Ok(Stretch { took, client, gateway, cluster })
    }
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
async fn ours(cloud: &Cloud, tenant: &Tenant, topic: &str) -> anyhow::Result<Run> {
    let values: Vec<Vec<u8>> = (0..RECORDS).map(value).collect();
    let client = Fluvio::connect_with_config(&tenant.profile()?).await?;
    let admin = client.admin().await;
    stream::create_topic(&admin, topic, 1).await?;
    let mut config = TopicProducerConfigBuilder::default();
    config.batch_size(BATCH_BYTES).linger(Duration::from_millis(10));
    let producer = stream::producer_with(&client, topic, config).await?;
    let clock = Clock::start(cloud, tenant)?;
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
    let produced = clock.stop(cloud, tenant)?;

    let reader = Fluvio::connect_with_config(&tenant.profile()?).await?;
    let mut config = ConsumerConfigExtBuilder::default();
    config.topic(topic).partition(0).offset_start(Offset::beginning()).max_bytes(8 << 20);
    let config = config.build()?;
    let clock = Clock::start(cloud, tenant)?;
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
    let consumed = clock.stop(cloud, tenant)?;
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
