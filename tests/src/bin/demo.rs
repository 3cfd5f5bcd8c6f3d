//! The main job through the front doors: sign up, own a cluster, log in, produce a real data set, consume it
//! back, compare every record, and say how long each step took.
//!
//! On a terminal the cloud then stays up until Ctrl-C; without one the demo ends with exit status 0.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Parser;
use e2e::cloud::Cloud;
use e2e::dataset;
use e2e::floor::{self, Durations};
use e2e::paced;
use e2e::person::{Cluster, Person};
use e2e::tenant::{Ran, Tenant};
use e2e::visitor::Visitor;
use e2e::wait::until;

const TOPIC: &str = "flights";
/// A modest rate, for how long a record takes from one end to the other.
const LATENCY_RATE: u32 = 200;
const LATENCY_RECORDS: u32 = 1_000;

/// Sign up, own a cluster, log in, produce and consume, and print what it took.
#[derive(Debug, Parser)]
struct Options {
    /// Use the cloud that is up at this address instead of starting one.
    #[arg(long, value_name = "URL")]
    portal: Option<String>,
    /// Where a copy of the printed table goes.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

/// What the table says, line by line.
#[derive(Debug, Default)]
struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    fn row(&mut self, what: &str, figure: String) {
        eprintln!("  {what}: {figure}");
        self.rows.push((what.to_string(), figure));
    }

    fn text(&self) -> String {
        let width = self.rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        self.rows.iter().map(|(what, figure)| format!("{what:width$}  {figure}\n")).collect()
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(demo(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(options: Options) -> anyhow::Result<()> {
    let mut table = Table::default();
    eprintln!("fetching the data set");
    let flights = dataset::flights()?;
    let cloud = match options.portal {
        Some(_) => None,
        None => {
            eprintln!("starting a cloud of its own");
            let begun = Instant::now();
            let cloud = Cloud::start("demo", &[])?;
            table.row("cloud up, from nothing to ready", seconds(begun.elapsed()));
            Some(cloud)
        }
    };
    let portal = options.portal.clone().or_else(|| cloud.as_ref().map(Cloud::portal)).context("a portal")?;
    let tenant = join(&portal, &mut table).await?;
    transfer(&tenant, &flights, &mut table).await?;
    latency(&tenant, &mut table).await?;

    println!("\n{}", table.text());
    println!("{} records came back, each compared with what was sent: all equal, in order.", flights.len());
    if let Some(path) = &options.table {
        std::fs::write(path, table.text()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        stay(&portal, &tenant).await?;
    }
    Ok(())
}

/// From a stranger to a logged-in owner of a running cluster.
async fn join(portal: &str, table: &mut Table) -> anyhow::Result<Tenant> {
    eprintln!("signing up at {portal}");
    let browser = Visitor::at(portal);
    let (email, password) = (Person::fresh_email(), Person::fresh_password());
    let begun = Instant::now();
    let answer = browser.sign_up(&email, &password).await?;
    ensure!(
        !answer.status.is_client_error() && !answer.status.is_server_error(),
        "signing up: {}",
        answer.status
    );
    table.row("sign-up", millis(begun.elapsed()));
    let link = until("the verification mail", Duration::from_secs(20), async || {
        browser.verification_link(&email).await.map(Some)
    })
    .await?;
    let click = Instant::now();
    browser.verify(&link).await?;
    let person = Person::log_in(browser, email, password).await?;
    let cluster: Cluster = person.first_cluster().await?;
    table.row("click on \"verify\" to a cluster that is ready", millis(click.elapsed()));

    eprintln!("fluvio cloud login");
    let tenant = Tenant { person, cluster, home: tempfile::tempdir()? };
    let begun = Instant::now();
    tenant.log_in().await?;
    table.row("fluvio cloud login", millis(begun.elapsed()));
    Ok(tenant)
}

/// The whole data set in and out by the command line, compared byte for byte.
async fn transfer(tenant: &Tenant, flights: &[Bytes], table: &mut Table) -> anyhow::Result<()> {
    eprintln!("fluvio topic create {TOPIC}");
    let begun = Instant::now();
    tenant.fluvio(&["topic", "create", TOPIC]).await?.succeed()?;
    table.row("fluvio topic create", millis(begun.elapsed()));

    eprintln!("fluvio produce {TOPIC}: {} records", flights.len());
    let mut input = Vec::new();
    for record in flights {
        input.extend_from_slice(record);
        input.push(b'\n');
    }
    let begun = Instant::now();
    tenant.fluvio_with(&["produce", TOPIC], &input).await?.succeed()?;
    table.row("fluvio produce", rate(flights.len(), input.len(), begun.elapsed()));

    eprintln!("fluvio consume {TOPIC}");
    let begun = Instant::now();
    let read: Ran = tenant.fluvio(&["consume", TOPIC, "-B", "-d"]).await?.succeed()?;
    table.row("fluvio consume", rate(flights.len(), read.stdout.len(), begun.elapsed()));
    compare(flights, &read.stdout)
}

fn compare(sent: &[Bytes], read: &[u8]) -> anyhow::Result<()> {
    let mut lines = read.split(|byte| *byte == b'\n');
    for (number, record) in sent.iter().enumerate() {
        let line = lines.next().unwrap_or_default();
        ensure!(line == record, "record {number} came back as {:?}", String::from_utf8_lossy(line));
    }
    let rest: usize = lines.map(<[u8]>::len).sum();
    ensure!(rest == 0, "more came back than was sent");
    Ok(())
}

/// One record at a time with the published client, timed from the moment each was due.
async fn latency(tenant: &Tenant, table: &mut Table) -> anyhow::Result<()> {
    eprintln!("{LATENCY_RATE} records a second, one at a time");
    let measured = paced::run(&tenant.profile()?, ("demo-latency", 1), LATENCY_RATE, LATENCY_RECORDS).await?;
    let row = |of: &Durations| {
        let at = |quantile| millis(floor::at(of, quantile));
        format!("p50 {}, p90 {}, p99 {}", at(0.5), at(0.9), at(0.99))
    };
    table.row("produce to consume, one record", row(&measured.consumed));
    table.row("produce to acknowledgement (on disk)", row(&measured.acknowledged));
    let folder = tempfile::tempdir()?;
    table.row("this disk's own fsync, beside it", row(&floor::fsync(folder.path(), 200)?));
    Ok(())
}

/// Keeps the cloud up for the person in front of it.
async fn stay(portal: &str, tenant: &Tenant) -> anyhow::Result<()> {
    println!("\nThe cloud stays up until Ctrl-C.");
    println!("  page      {portal}");
    println!("  email     {}", tenant.person.email);
    println!("  password  {}", tenant.person.password);
    println!("  endpoint  {}", tenant.cluster.endpoint);
    println!("  profile   {}", tenant.profile_path().display());
    tokio::signal::ctrl_c().await?;
    println!("stopping");
    Ok(())
}

fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1e3)
}

fn rate(records: usize, bytes: usize, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    format!(
        "{:.2} s, {:.0} records/s, {:.1} MB/s",
        seconds,
        records as f64 / seconds,
        bytes as f64 / seconds / 1e6
    )
}
