//! What Fluvio's founders claim for Rust against Java doing the same job, measured as ratios to Kafka's in one run:
//! latency about 30 times lower, memory 80, idle memory 450, processor time 3, size 8. Ours has a record on disk before it
//! is acknowledged and shown; Kafka runs as it comes, and never flushes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::floor::at;
use e2e::paced;
use e2e::processes::Process;
use e2e::programs;
use e2e::tenant::Tenant;

use crate::kafka::{Flush, Kafka};
use crate::one_at_a_time::{RATE, RECORDS as PACED};
use crate::report::{Better, Figure, Report, median};
use crate::throughput::{self, RECORDS};

const SETTLED: Duration = Duration::from_secs(5);

/// One figure of both.
struct Pair {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Pair {
    fn new() -> Pair {
        Pair { ours: Vec::new(), theirs: Vec::new() }
    }

    fn note(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// How many times lower ours is.
    fn figure(&self, what: &str, claimed: f64, unit: &str) -> Figure {
        let ratios = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs / ours).collect();
        Figure::of(&format!("Kafka 4.1.0 over ours: {what}"), "x", Better::Higher, ratios)
            .beside("claimed for Rust over Java (x)", claimed)
            .beside(&format!("ours ({unit})"), median(&self.ours))
            .beside(&format!("Kafka ({unit})"), median(&self.theirs))
    }
}

pub async fn measure(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("the founding claim, {runs} runs, Kafka in turn");
    let kafka = Kafka::start()?;
    let (cluster, broker) = (cloud.cluster(&tenant.cluster.id), kafka.process()?);
    let memory = || anyhow::Ok((megabytes(&cluster)?, megabytes(std::slice::from_ref(&broker))?));
    tokio::time::sleep(SETTLED).await;
    let (mut idle, mut loaded) = (Pair::new(), Pair::new());
    let (ours, theirs) = memory()?;
    idle.note(ours, theirs);
    latency(tenant, &kafka, runs, report).await?;
    processor(cloud, tenant, &kafka, runs, report).await?;
    tokio::time::sleep(SETTLED).await;
    let (ours, theirs) = memory()?;
    loaded.note(ours, theirs);
    report.add(loaded.figure("memory after the load, PSS", 80.0, "MB"));
    report.add(idle.figure("memory before anything was sent, PSS", 450.0, "MB"));
    size(&kafka, report)
}

/// One record at a time, each with its published client, over mutual TLS; ours through the gateway.
async fn latency(tenant: &Tenant, kafka: &Kafka, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let profile = tenant.profile()?;
    let (mut p50, mut p99) = (Pair::new(), Pair::new());
    for run in 0..runs {
        let topic = format!("claim-paced-{run}");
        kafka.create_topic(&topic, Flush::Never)?;
        let theirs = kafka.one_at_a_time(&topic, (RATE, PACED))?;
        let ours = paced::run(&profile, (&topic, 1), RATE, PACED).await?.consumed;
        let millis = |quantile| at(&ours, quantile).as_secs_f64() * 1e3;
        p50.note(millis(0.5), theirs.p50);
        p99.note(millis(0.99), theirs.p99);
    }
    let what = format!("one record at a time at {RATE}/s, due to consumed");
    report.add(p50.figure(&format!("{what} (p50)"), 30.0, "ms"));
    report.add(p99.figure(&format!("{what} (p99)"), 30.0, "ms"));
    Ok(())
}

/// What the servers use, the gateway among ours, while each one's own client moves the same records in and out.
async fn processor(
    cloud: &Cloud,
    tenant: &Tenant,
    kafka: &Kafka,
    runs: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut both, broker) = (Pair::new(), [kafka.process()?]);
    let servers = [cloud.cluster(&tenant.cluster.id), cloud.program("gateway")].concat();
    for run in 0..runs {
        let topic = format!("claim-bulk-{run}");
        kafka.create_topic(&topic, Flush::Never)?;
        let before = [used(&servers)?, used(&broker)?];
        throughput::ours(cloud, tenant, &topic).await?;
        kafka.produce(&topic)?;
        kafka.consume(&topic)?;
        let after = [used(&servers)?, used(&broker)?];
        let [ours, theirs] = [0, 1].map(|who| (after[who] - before[who]) / (RECORDS as f64 / 1e6));
        both.note(ours, theirs);
    }
    let what = "servers' processor time for a million 1 KiB records in and out";
    report.add(both.figure(what, 3.0, "s"));
    Ok(())
}

/// Seconds so far.
fn used(processes: &[Process]) -> anyhow::Result<f64> {
    let all = processes.iter().map(Process::processor_time_of_all);
    Ok(all.sum::<anyhow::Result<Duration>>()?.as_secs_f64())
}

/// What has to be on the disk of a machine that serves.
fn size(kafka: &Kafka, report: &mut Report) -> anyhow::Result<()> {
    let ours = stripped(&programs::program("fluvio-cluster")?)?;
    let (jars, java) = kafka.size()?;
    let mut size = Pair::new();
    size.note(ours as f64 / 1e6, jars as f64 / 1e6);
    report.add(
        size.figure("program on disk, stripped, without the Java that Kafka needs", 8.0, "MB")
            .beside("that Java, as it is installed here (MB)", java as f64 / 1e6),
    );
    Ok(())
}

/// Bytes of a program as its image has it.
fn stripped(program: &Path) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&to).arg(program).status();
    let status = status.context("strip is not installed\nfix: apt-get install -y binutils")?;
    ensure!(status.success(), "strip failed");
    Ok(to.metadata()?.len())
}

fn megabytes(processes: &[Process]) -> anyhow::Result<f64> {
    Ok(processes.iter().map(Process::pss).sum::<anyhow::Result<u64>>()? as f64 / 1e6)
}
