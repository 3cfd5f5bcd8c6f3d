//! The figures that Fluvio Cloud promises, each measured with its floor or its peer in the same run, against a
//! target and a hard floor. A figure below its hard floor ends the command with an error.

mod claim;
mod click;
mod copies;
mod engine;
mod fleet;
mod idle;
mod kafka;
mod nats;
mod one_at_a_time;
mod processor;
mod record;
mod report;
mod throughput;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use e2e::cloud::Cloud;
use e2e::tenant::Tenant;

use report::{Machine, Report};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Click to first record consumed, and the cloud's own start.
    Click,
    /// One record at a time at 1,000 a second.
    Latency,
    /// 1 KiB records in large batches with the published client, beside Kafka.
    Throughput,
    /// The same with our own generator, straight to an SPU and through the gateway.
    Engine,
    /// One produce request in flight, beside NATS and the disk's own fsync.
    Acknowledged,
    /// Three copies of each partition, and leaders that are killed.
    Copies,
    /// Thousands of consumers on one SPU.
    Consumers,
    /// Hundreds of SPUs in one cluster.
    Spus,
    /// Memory and processor time of an idle cluster, before and after a load.
    Idle,
    /// Latency, memory, processor and size as ratios to Kafka's.
    Claim,
    /// Click to first record consumed on a real Kubernetes. Only when named.
    Kubernetes,
    /// Thousands of tenants on simulated nodes. Only when named.
    Fleet,
}

/// Measure and compare with what is promised.
#[derive(Debug, Parser)]
struct Options {
    /// Only these parts.
    #[arg(value_enum)]
    only: Vec<Part>,
    /// Runs of each figure that is repeated.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Tenants of the simulated fleet.
    #[arg(long, default_value_t = 1_000)]
    tenants: usize,
    /// Appends what was found of the simulated fleet to this file.
    #[arg(long)]
    record: Option<std::path::PathBuf>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() && !matches!(part, Part::Kubernetes | Part::Fleet) || self.only.contains(&part)
    }

    fn wants_the_embedded_cloud(&self) -> bool {
        let without = [Part::Consumers, Part::Spus, Part::Kubernetes, Part::Fleet];
        let mut all = Part::value_variants().iter();
        all.any(|part| self.wants(*part) && !without.contains(part))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(bench(&options)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: a figure is below its hard floor");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: &Options) -> anyhow::Result<bool> {
    let machine = Machine::look()?;
    println!("{machine}");
    if cfg!(debug_assertions) {
        println!("These are debug builds: the figures say nothing. fix: cargo run --release --bin bench");
    }
    let mut report = Report::default();
    if options.wants_the_embedded_cloud() {
        embedded(options, &mut report).await?;
    }
    if options.wants(Part::Consumers) {
        engine::consumers::measure(&mut report).await?;
    }
    if options.wants(Part::Spus) {
        engine::spus::measure(&mut report).await?;
    }
    if options.wants(Part::Kubernetes) {
        fleet::click(&mut report).await?;
    }
    if options.wants(Part::Fleet) {
        let found = fleet::scale(&mut report, options.tenants).await?;
        if let Some(path) = &options.record {
            record::append(path, &machine, &found)?;
        }
    }
    report.print();
    let path = report.keep(&machine)?;
    println!("kept in {}", path.display());
    Ok(report.holds())
}

/// What is measured on a cloud of one machine.
async fn embedded(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    if options.wants(Part::Click) {
        click::start(report, options.runs.min(3))?;
    }
    let cloud = Cloud::start("bench", &[])?;
    if options.wants(Part::Idle) {
        let tenant = unlimited(&cloud).await?;
        idle::measure(&cloud, &tenant, report).await?;
    }
    if options.wants(Part::Click) {
        click::measure(&cloud, report).await?;
    }
    if options.wants(Part::Latency) {
        let tenant = unlimited(&cloud).await?;
        one_at_a_time::measure(&cloud, &tenant, options.runs, report).await?;
    }
    if options.wants(Part::Throughput) {
        let tenant = unlimited(&cloud).await?;
        throughput::measure(&cloud, &tenant, options.runs, report).await?;
    }
    if options.wants(Part::Engine) {
        let tenant = unlimited(&cloud).await?;
        engine::bulk::measure(&cloud, &tenant, options.runs, report).await?;
    }
    if options.wants(Part::Acknowledged) {
        let tenant = unlimited(&cloud).await?;
        engine::acknowledged::measure(&cloud, &tenant, options.runs, report).await?;
    }
    if options.wants(Part::Copies) {
        copies::measure(&cloud, options.runs, report).await?;
    }
    if options.wants(Part::Claim) {
        let tenant = unlimited(&cloud).await?;
        claim::measure(&cloud, &tenant, options.runs.min(3), report).await?;
    }
    Ok(())
}

/// A tenant whose plan says nothing of rates: what is measured is the engine.
async fn unlimited(cloud: &Cloud) -> anyhow::Result<Tenant> {
    let tenant = Tenant::new(cloud).await?;
    cloud.db_lift_rates(&tenant.cluster.id).await?;
    Ok(tenant)
}
