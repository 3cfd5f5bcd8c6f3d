//! What a cluster costs while nobody uses it: before anybody did, and after.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::cloud::Cloud;
use e2e::generator::batches::Prepared;
use e2e::generator::{consume, produce};
use e2e::processes::Process;
use e2e::tenant::Tenant;

use crate::engine::{Way, on_a_thread};
use crate::report::{Better, Figure, Report};
use crate::throughput::{BATCH_BYTES, RECORD_BYTES};

const WATCH: Duration = Duration::from_secs(60);
/// What the start or a load itself cost is not idleness.
const SETTLED: Duration = Duration::from_secs(5);
const LOOKS_AFTER_LOAD: usize = 3;
/// Requests of the load: about 200 MB in, and out again.
const REQUESTS: usize = 400;
const WINDOW: usize = 8;

pub async fn measure(cloud: &Cloud, tenant: &Tenant, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("watching an idle cluster for {WATCH:?}");
    let processes = cloud.cluster(&tenant.cluster.id);
    ensure!(!processes.is_empty(), "the cluster has no process");
    tokio::time::sleep(SETTLED).await;
    let used = || -> anyhow::Result<Duration> { processes.iter().map(Process::processor_time).sum() };
    let (before, begun) = (used()?, Instant::now());
    let mut memory = Vec::new();
    while begun.elapsed() < WATCH {
        tokio::time::sleep(Duration::from_secs(10)).await;
        memory.push(megabytes(&processes)?);
    }
    let share = (used()?.saturating_sub(before)).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let what = format!("memory of an idle cluster (SC and one SPU, {} process), PSS", processes.len());
    report.add(Figure::of(&what, "MB", Better::Lower, memory).target(8.0).hard_floor(20.0));
    report.add(
        Figure::of("processor time of an idle cluster, of one core", "%", Better::Lower, vec![share])
            .target(0.02),
    );
    let bytes = load(&Way::through_the_gateway(cloud, tenant).await?).await?;
    let mut after = Vec::new();
    for _ in 0..LOOKS_AFTER_LOAD {
        tokio::time::sleep(SETTLED).await;
        after.push(megabytes(&processes)?);
    }
    let what = "memory of the same cluster, idle again after a load, PSS";
    report
        .add(Figure::of(what, "MB", Better::Lower, after).beside("of so much in, and out again (MB)", bytes));
    Ok(())
}

fn megabytes(processes: &[Process]) -> anyhow::Result<f64> {
    Ok(processes.iter().map(Process::pss).sum::<anyhow::Result<u64>>()? as f64 / 1e6)
}

/// Produces and consumes with our generator, and leaves nothing behind: millions of bytes that went in.
async fn load(way: &Way) -> anyhow::Result<f64> {
    const TOPIC: &str = "load";
    let spu = way.topic(TOPIC, 1).await?;
    let bytes = on_a_thread(move || {
        let mut prepared = Prepared::random(TOPIC, WINDOW, (BATCH_BYTES / RECORD_BYTES, RECORD_BYTES))?;
        let produced = produce::bulk(&mut spu.connect()?, &mut prepared, REQUESTS, WINDOW)?;
        consume::read(&mut spu.connect()?, TOPIC, 0, produced.records)?;
        Ok(produced.bytes as f64 / 1e6)
    });
    let bytes = bytes.await?;
    way.delete(TOPIC).await?;
    Ok(bytes)
}
