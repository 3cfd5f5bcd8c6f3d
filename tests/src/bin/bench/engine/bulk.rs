//! 1 KiB records in batches of nearly 500 kB: one connection that produces, one that consumes.

use e2e::cloud::Cloud;
use e2e::floor;
use e2e::generator::batches::Prepared;
use e2e::generator::{consume, produce};
use e2e::node::Owner;
use e2e::tenant::Tenant;

use super::{Straight, Way, on_a_thread};
use crate::kafka::{Flush, Kafka};
use crate::processor::{Clock, Shares, Stretch};
use crate::report::{Better, Figure, Report, median};
use crate::throughput::{BATCH_BYTES, RECORD_BYTES, RECORDS, warm_the_disk};

const BATCH_RECORDS: usize = BATCH_BYTES / RECORD_BYTES;
/// Different batches, which are sent in turn: more than a core's cache holds.
const BATCHES: usize = 8;
/// Produce requests under way at once.
const WINDOW: usize = 8;
/// A single reading is over in a third of a second.
const READINGS: usize = 3;

pub async fn measure(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("the engine in bulk, {runs} runs, Kafka in turn");
    warm_the_disk(cloud.state())?;
    let kafka = Kafka::start()?;
    let straight = Straight::start(&Owner::new()?).await?;
    let plain = Straight::start(&Owner::in_plaintext()?).await?;
    // Without TLS there is one figure that is promised, and no peer beside it.
    let ways = [
        (Way::straight(&straight).await?, Some(300.0), 600.0),
        (Way::through_the_gateway(cloud, tenant).await?, Some(300.0), 600.0),
        (Way::in_plaintext(&plain).await?, None, 1_000.0),
    ];
    let mut ours = [Ours::default(), Ours::default(), Ours::default()];
    let (mut theirs, mut fsync) = (Theirs::default(), Vec::new());
    for run in 0..runs {
        fsync.push(floor::at(&floor::fsync(cloud.state(), 500)?, 0.5).as_secs_f64() * 1e3);
        let topic = format!("engine-{run}");
        // In turn, and every other time the other way round: neither always has the warmer machine.
        if run % 2 == 1 {
            theirs.note(&kafka, &topic)?;
        }
        for ((way, ..), ours) in ways.iter().zip(&mut ours) {
            ours.note(one_run(way, &topic).await?);
        }
        if run % 2 == 0 {
            theirs.note(&kafka, &topic)?;
        }
    }
    let (peer_in, peer_out, fsync) = (median(&theirs.produced), median(&theirs.consumed), median(&fsync));
    for ((way, produced, consumed), ours) in ways.iter().zip(ours) {
        let path = format!("our generator, one connection, {}", way.name);
        let what = format!("produce 1 KiB, fsynced, {path}");
        let mut figure = Figure::of(&what, "MB/s", Better::Higher, ours.produced)
            .beside("peer: Kafka 4.1.0 over TLS, never flushing (MB/s)", peer_in)
            .beside("floor: append 1 KiB and fdatasync, p50 (ms)", fsync);
        if let Some(target) = produced {
            figure = figure.target(*target);
        }
        report.add(ours.producing.beside(figure));
        let figure = Figure::of(&format!("consume 1 KiB, {path}"), "MB/s", Better::Higher, ours.consumed)
            .target(*consumed)
            .hard_floor(peer_out)
            .beside("peer: Kafka 4.1.0 over TLS (MB/s)", peer_out);
        report.add(ours.consuming.beside(figure));
    }
    Ok(())
}

/// The runs of one way.
#[derive(Default)]
struct Ours {
    produced: Vec<f64>,
    consumed: Vec<f64>,
    producing: Shares,
    consuming: Shares,
}

impl Ours {
    fn note(&mut self, [(produced, producing), (consumed, consuming)]: [(f64, Stretch); 2]) {
        self.produced.push(produced);
        self.consumed.push(consumed);
        self.producing.note(&producing);
        self.consuming.note(&consuming);
    }
}

/// The peer's runs, in megabytes a second.
#[derive(Default)]
struct Theirs {
    produced: Vec<f64>,
    consumed: Vec<f64>,
}

impl Theirs {
    fn note(&mut self, kafka: &Kafka, topic: &str) -> anyhow::Result<()> {
        kafka.create_topic(topic, Flush::Never)?;
        self.produced.push(kafka.produce(topic)? * RECORD_BYTES as f64 / 1e6);
        self.consumed.push(kafka.consume(topic)?);
        Ok(())
    }
}

/// All in, all out some times: megabytes a second of each, and who used the processor.
async fn one_run(way: &Way, topic: &str) -> anyhow::Result<[(f64, Stretch); 2]> {
    let spu = way.topic(topic, 1).await?;
    let (watched, name) = (way.watched.clone(), topic.to_string());
    let measured = on_a_thread(move || {
        let mut prepared = Prepared::random(&name, BATCHES, (BATCH_RECORDS, RECORD_BYTES))?;
        let mut link = spu.connect()?;
        let clock = Clock::start(watched.clone())?;
        let produced = produce::bulk(&mut link, &mut prepared, RECORDS.div_ceil(BATCH_RECORDS), WINDOW)?;
        let producing = clock.stop()?;
        let mut link = spu.connect()?;
        let clock = Clock::start(watched)?;
        let mut bytes = 0;
        for _ in 0..READINGS {
            bytes += consume::read(&mut link, &name, 0, produced.records)?.bytes;
        }
        let consuming = clock.stop()?;
        let consumed = bytes as f64 / consuming.took / 1e6;
        Ok([(produced.megabytes_a_second(), producing), (consumed, consuming)])
    });
    let measured = measured.await?;
    way.delete(topic).await?;
    Ok(measured)
}
