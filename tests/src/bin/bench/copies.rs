//! Three copies of each partition on three SPUs, and how long nothing is acknowledged when the leader is killed.

use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::cloud::Cloud;
use e2e::paced;
use e2e::person::Person;
use e2e::stream::{STEP_WITHIN, create_copied_topic, producer};
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use fluvio::RecordKey;
use fluvio::metadata::partition::PartitionSpec;

use crate::one_at_a_time::Quantiles;
use crate::report::{Better, Figure, Report};

const RATE: u32 = 200;
const RECORDS: u32 = 2_000;
const KILLS: usize = 10;

pub async fn measure(cloud: &Cloud, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("three copies, {runs} runs, {KILLS} kills");
    let tenant = Tenant::with_cluster(Person::sign_up(cloud).await?, "copies", 3).await?;
    let profile = tenant.profile()?;
    for copies in [1, 3] {
        let mut acknowledged = Quantiles::default();
        for run in 0..runs {
            let topic = format!("copied-{copies}-{run}");
            acknowledged.note(&paced::run(&profile, (&topic, copies), RATE, RECORDS).await?.acknowledged);
        }
        let what =
            format!("100 B records at {RATE}/s, due to acknowledged, {copies} of 3 SPUs fsynced (p50)");
        report.add(acknowledged.figure(&what));
    }
    let mut seconds = Vec::new();
    for kill in 0..KILLS {
        seconds.push(one_kill(cloud, &tenant, &format!("killed-{kill}")).await?);
    }
    seconds.sort_by(f64::total_cmp);
    let slowest = seconds.last().copied().unwrap_or(f64::NAN);
    let what = "leader killed to next record acknowledged, new published client after an error (median)";
    report.add(
        Figure::of(what, "s", Better::Lower, seconds).target(1.0).beside("slowest of the kills (s)", slowest),
    );
    Ok(())
}

/// Kills the leader of a fresh partition; seconds until a record is acknowledged again.
async fn one_kill(cloud: &Cloud, tenant: &Tenant, topic: &str) -> anyhow::Result<f64> {
    let admin = tenant.admin().await?;
    create_copied_topic(&admin, topic, 1, 3).await?;
    send(tenant, topic).await?;
    let partitions = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
    let leader = partitions.iter().find(|found| found.name == format!("{topic}-0"));
    let leader = leader.context("the partition")?.spec.leader;
    let file = format!("main-{}.toml", leader - 5001);
    let processes = cloud.cluster(&tenant.cluster.id);
    let process = processes.iter().find(|each| each.mentions(&file)).context("the leader's process")?;
    let begin = Instant::now();
    process.kill()?;
    until("a record is acknowledged again", Duration::from_secs(60), async || {
        send(tenant, topic).await.map(Some)
    })
    .await?;
    let seconds = begin.elapsed().as_secs_f64();
    until("every SPU is back", Duration::from_secs(60), async || {
        let copies = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
        Ok(copies
            .iter()
            .filter(|found| found.name.starts_with(topic))
            .all(|found| found.status.lsr == 3)
            .then_some(()))
    })
    .await?;
    Ok(seconds)
}

async fn send(tenant: &Tenant, topic: &str) -> anyhow::Result<()> {
    let producer = producer(&tenant.client().await?, topic).await?;
    let output = within("sent", STEP_WITHIN, producer.send(RecordKey::NULL, "x")).await?;
    within("flushed", STEP_WITHIN, producer.flush()).await?;
    within("acknowledged", STEP_WITHIN, output.wait()).await?;
    Ok(())
}
