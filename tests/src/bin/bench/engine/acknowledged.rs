//! 100 B with one request in flight: from sent to acknowledged, on disk, beside this minute's floors and NATS.

use e2e::cloud::Cloud;
use e2e::floor::{self, Durations};
use e2e::generator::batches::Prepared;
use e2e::generator::produce;
use e2e::node::Owner;
use e2e::tenant::Tenant;

use super::{Straight, Way, on_a_thread};
use crate::nats::Nats;
use crate::one_at_a_time::Quantiles;
use crate::report::{Better, Figure, Report, median};

pub const RECORD_BYTES: usize = 100;
const ROUNDS: i32 = 2_000;
const WARM_UP: i32 = 200;
/// What the engine may add to an fsync and a round trip, in milliseconds.
const OWN: f64 = 0.030;

pub async fn measure(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("one produce request in flight, {runs} runs, NATS in turn");
    let nats = Nats::start()?;
    let straight = Straight::start(&Owner::new()?).await?;
    let ways = [Way::straight(&straight).await?, Way::through_the_gateway(cloud, tenant).await?];
    let mut ours = [Quantiles::default(), Quantiles::default()];
    let (mut fsync, mut round_trip) = (Quantiles::default(), Quantiles::default());
    let mut theirs = Theirs::default();
    for run in 0..runs {
        let name = format!("acknowledged-{run}");
        fsync.note(&floor::fsync(cloud.state(), 1_000)?);
        round_trip.note(&floor::round_trip(2_000)?);
        // In turn, and every other time the other way round: neither always has the quieter disk.
        if run % 2 == 1 {
            theirs.note(&nats, &name)?;
        }
        for (way, ours) in ways.iter().zip(&mut ours) {
            ours.note(&one_in_flight(way, &name, 1).await?);
        }
        if run % 2 == 0 {
            theirs.note(&nats, &name)?;
        }
    }
    let [straight, through] = ours;
    let (disk, disk_p99) = (median(&fsync.p50), median(&fsync.p99));
    let way = median(&round_trip.p50);
    let what = "produce 100 B to acknowledgement, one in flight, fsynced, our generator, mutual TLS straight to the SPU";
    report.add(
        Figure::of(&format!("{what} (p50)"), "ms", Better::Lower, straight.p50)
            .target(disk + way + OWN)
            .hard_floor(median(&theirs.p50))
            .beside("peer: NATS 2.15.2 JetStream over mutual TLS, sync always, p50 (ms)", median(&theirs.p50))
            .beside("floor: append 1 KiB and fdatasync, p50 (ms)", disk)
            .beside("floor: loopback round trip of 100 bytes, p50 (ms)", way)
            .beside("through the gateway, p50 (ms)", median(&through.p50)),
    );
    report.add(
        Figure::of(&format!("{what} (p99)"), "ms", Better::Lower, straight.p99)
            .target(1.5 * disk_p99 + way)
            .beside("peer: NATS, p99 (ms)", median(&theirs.p99))
            .beside("floor: append 1 KiB and fdatasync, p99 (ms)", disk_p99)
            .beside("through the gateway, p99 (ms)", median(&through.p99)),
    );
    Ok(())
}

/// The peer's runs, in milliseconds.
#[derive(Default)]
struct Theirs {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Theirs {
    fn note(&mut self, nats: &Nats, stream: &str) -> anyhow::Result<()> {
        let run = nats.publish(stream, RECORD_BYTES, ROUNDS)?;
        self.p50.push(run.p50);
        self.p99.push(run.p99);
        Ok(())
    }
}

/// One run on a fresh topic of so many copies.
pub async fn one_in_flight(way: &Way, topic: &str, copies: u32) -> anyhow::Result<Durations> {
    let spu = way.topic(topic, copies).await?;
    let name = topic.to_string();
    let measured = on_a_thread(move || {
        let mut prepared = Prepared::new(&name, 0, &[vec![b'x'; RECORD_BYTES]])?;
        let mut link = spu.connect()?;
        produce::one_at_a_time(&mut link, &mut prepared, WARM_UP)?;
        produce::one_at_a_time(&mut link, &mut prepared, ROUNDS)
    });
    let measured = measured.await?;
    way.delete(topic).await?;
    Ok(measured)
}
