//! Three copies of each partition on three SPUs: what they cost, and how long nothing is acknowledged when the leader
//! is killed.

mod kills;

use e2e::cloud::Cloud;
use e2e::floor;
use e2e::generator::batches::Prepared;
use e2e::generator::produce;
use e2e::paced;
use e2e::person::Person;
use e2e::tenant::Tenant;

use crate::engine::acknowledged::one_in_flight;
use crate::engine::{Way, on_a_thread};
use crate::one_at_a_time::Quantiles;
use crate::processor::{Clock, Shares, Stretch};
use crate::report::{Better, Figure, Report, median};
use crate::throughput::{BATCH_BYTES, RECORD_BYTES};

const COPIES: u32 = 3;
const RATE: u32 = 200;
const RECORDS: u32 = 2_000;
const BATCH_RECORDS: usize = BATCH_BYTES / RECORD_BYTES;
/// Requests of one run in bulk: 100 MB, three times over.
const BULK: usize = 200;
const WINDOW: usize = 8;

pub async fn measure(cloud: &Cloud, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("three copies, {runs} runs, {} kills", kills::KILLS);
    let tenant = Tenant::with_cluster(Person::sign_up(cloud).await?, "copies", COPIES).await?;
    cloud.db_lift_rates(&tenant.cluster.id).await?;
    published(&tenant, runs, report).await?;
    by_hand(cloud, &tenant, runs, report).await?;
    kills::measure(cloud, &tenant, report).await
}

/// At a fixed rate, with the published client.
async fn published(tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let profile = tenant.profile()?;
    for copies in [1, COPIES] {
        let mut acknowledged = Quantiles::default();
        for run in 0..runs {
            let topic = format!("copied-{copies}-{run}");
            acknowledged.note(&paced::run(&profile, (&topic, copies), RATE, RECORDS).await?.acknowledged);
        }
        let what =
            format!("100 B records at {RATE}/s, due to acknowledged, {copies} of 3 SPUs fsynced (p50)");
        report.add(acknowledged.figure(&what));
    }
    Ok(())
}

/// With our generator: one in flight, and in bulk.
async fn by_hand(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let way = Way::through_the_gateway(cloud, tenant).await?;
    let (mut single, mut one, mut fsync) = (Quantiles::default(), Quantiles::default(), Quantiles::default());
    let (mut bulk, mut shares) = (Vec::new(), Shares::default());
    for run in 0..runs {
        fsync.note(&floor::fsync(cloud.state(), 500)?);
        one.note(&one_in_flight(&way, &format!("one-of-one-{run}"), 1).await?);
        single.note(&one_in_flight(&way, &format!("one-of-three-{run}"), COPIES).await?);
        let (figure, stretch) = in_bulk(&way, &format!("bulk-of-three-{run}")).await?;
        bulk.push(figure);
        shares.note(&stretch);
    }
    let path = "three SPUs all fsynced, our generator, mutual TLS through the gateway";
    let (disk, alone) = (median(&fsync.p50), median(&one.p50));
    report.add(
        single
            .figure(&format!("produce 100 B to acknowledgement, one in flight, {path} (p50)"))
            .target(0.6)
            .beside("the same with one copy, p50 (ms)", alone)
            .beside("floor: append 1 KiB and fdatasync, p50 (ms)", disk),
    );
    report.add(
        shares.beside(
            Figure::of(&format!("produce 1 KiB in bulk, {path}"), "MB/s", Better::Higher, bulk)
                .target(50.0)
                .beside("floor: append 1 KiB and fdatasync, p50 (ms)", disk),
        ),
    );
    Ok(())
}

/// One run on a fresh topic: megabytes a second, and who used the processor.
async fn in_bulk(way: &Way, topic: &str) -> anyhow::Result<(f64, Stretch)> {
    let spu = way.topic(topic, COPIES).await?;
    let (watched, name) = (way.watched.clone(), topic.to_string());
    let measured = on_a_thread(move || {
        let mut prepared = Prepared::random(&name, WINDOW, (BATCH_RECORDS, RECORD_BYTES))?;
        let mut link = spu.connect()?;
        let clock = Clock::start(watched)?;
        let produced = produce::bulk(&mut link, &mut prepared, BULK, WINDOW)?;
        Ok((produced.megabytes_a_second(), clock.stop()?))
    });
    let measured = measured.await?;
    way.delete(topic).await?;
    Ok(measured)
}
