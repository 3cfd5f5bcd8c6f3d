//! Hundreds of SPUs in one cluster: more than any plan has, so they are started without the cloud, each a process that
//! meets its SC over TCP with mutual TLS.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::apart::Apart;
use e2e::generator::batches::Prepared;
use e2e::generator::link::Spu;
use e2e::generator::produce;
use e2e::stream::{STEP_WITHIN, create_topic, read_all};
use e2e::wait::within;
use fluvio::{Fluvio, FluvioAdmin, Isolation};

use super::on_a_thread;
use crate::report::{Better, Figure, Report};

const SPUS: usize = 200;
const PARTITIONS: u32 = 200;
const TOPIC: &str = "spread";
const ALL_WITHIN: Duration = Duration::from_secs(180);

pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    eprintln!("{SPUS} SPUs in one cluster");
    let begun = Instant::now();
    let apart = Apart::start(SPUS).await?;
    let started = begun.elapsed();
    let profile = apart.profile()?;
    let connecting = FluvioAdmin::connect_with_config(&profile);
    let admin = within("the admin client connects", STEP_WITHIN, connecting).await?;
    let begun = Instant::now();
    create_topic(&admin, TOPIC, PARTITIONS).await?;
    let leaders = Spu::leading_each(&admin, &profile, TOPIC, PARTITIONS).await?;
    let provisioned = begun.elapsed();
    let leading: BTreeSet<&str> = leaders.iter().map(|spu| spu.name.as_str()).collect();
    let n_leading = leading.len();
    let begun = Instant::now();
    within("a record goes to each", ALL_WITHIN, on_a_thread(move || send_to_each(&leaders))).await?;
    let client = within("the client connects", STEP_WITHIN, Fluvio::connect_with_config(&profile)).await?;
    let reading = Box::pin(read_from_each(&client));
    within("a record comes from each", ALL_WITHIN, reading).await?;
    let moved = begun.elapsed();
    let pss = |name: &str| anyhow::Ok(apart.process(name)?.pss()? as f64 / 1e6);
    let all: Vec<f64> = (0..SPUS).map(|n| pss(&format!("main-{n}"))).collect::<Result<_, _>>()?;
    let what =
        format!("{SPUS} SPUs in one cluster: a topic of {PARTITIONS} partitions, until all have a leader");
    report.add(
        Figure::of(&what, "s", Better::Lower, vec![provisioned.as_secs_f64()])
            .beside("partitions that took a record and gave it back", f64::from(PARTITIONS))
            .beside("SPUs that lead one", n_leading as f64)
            .beside("for that, one after the other (s)", moved.as_secs_f64())
            .beside("from nothing to a cluster that clients can use (s)", started.as_secs_f64())
            .beside("memory of an SPU, mean, PSS (MB)", all.iter().sum::<f64>() / SPUS as f64)
            .beside("memory of the SC, PSS (MB)", pss("sc")?),
    );
    Ok(())
}

fn value(partition: u32) -> Vec<u8> {
    format!("of partition {partition}").into_bytes()
}

/// By hand, to the SPU that leads it.
fn send_to_each(leaders: &[Spu]) -> anyhow::Result<()> {
    for (spu, partition) in leaders.iter().zip(0..) {
        let mut prepared = Prepared::new(TOPIC, partition, &[value(partition)])?;
        let mut link = spu.connect()?;
        produce::one_at_a_time(&mut link, &mut prepared, 1).with_context(|| spu.name.clone())?;
    }
    Ok(())
}

/// With the published client, every record compared.
async fn read_from_each(client: &Fluvio) -> anyhow::Result<()> {
    for partition in 0..PARTITIONS {
        let found = read_all(client, TOPIC, partition, Isolation::ReadCommitted).await?;
        let values: Vec<Vec<u8>> = found.into_iter().map(|record| record.value).collect();
        ensure!(values == [value(partition)], "partition {partition} has {} records", values.len());
    }
    Ok(())
}
