//! What a cluster costs while nobody uses it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::cloud::Cloud;
use e2e::tenant::Tenant;

use crate::report::{Better, Figure, Report};

const WATCH: Duration = Duration::from_secs(60);

pub async fn measure(cloud: &Cloud, tenant: &Tenant, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("watching an idle cluster for {WATCH:?}");
    let processes = cloud.cluster(&tenant.cluster.id);
    ensure!(!processes.is_empty(), "the cluster has no process");
    // What the start itself cost is not idleness.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = || -> anyhow::Result<Duration> {
        processes.iter().map(e2e::processes::Process::processor_time).sum()
    };
    let (before, begun) = (used()?, Instant::now());
    let mut memory = Vec::new();
    while begun.elapsed() < WATCH {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let bytes = processes.iter().map(e2e::processes::Process::pss).sum::<anyhow::Result<u64>>()?;
        memory.push(bytes as f64 / 1e6);
    }
    let share = (used()?.saturating_sub(before)).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let what = format!("memory of an idle cluster (SC and one SPU, {} process), PSS", processes.len());
    report.add(Figure::of(&what, "MB", Better::Lower, memory).target(12.0).hard_floor(20.0));
    report.add(
        Figure::of("processor time of an idle cluster, of one core", "%", Better::Lower, vec![share])
            .target(0.02),
    );
    Ok(())
}
