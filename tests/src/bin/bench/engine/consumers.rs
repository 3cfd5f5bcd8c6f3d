//! Thousands of consumers on one SPU: all of them get every record, and what each costs.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::generator::batches::Prepared;
use e2e::generator::crowd::Crowd;
use e2e::generator::produce;
use e2e::node::Owner;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Straight, Way, on_a_thread};
use crate::report::{Better, Figure, Report};

const CONSUMERS: usize = 5_000;
/// Beside the consumers' sockets.
const OTHER_FILES: u64 = 500;
const RECORDS: i32 = 20;
const RECORD_BYTES: usize = 100;
const TOPIC: &str = "crowded";
const ALL_WITHIN: Duration = Duration::from_secs(60);
/// Until what the load itself took is given back.
const SETTLED: Duration = Duration::from_secs(3);

pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    eprintln!("{CONSUMERS} consumers on one SPU");
    // Before the SPU is started, which inherits it.
    allow_files(CONSUMERS as u64 + OTHER_FILES)?;
    let straight = Straight::start(&Owner::new()?).await?;
    let way = Way::straight(&straight).await?;
    let spu = way.topic(TOPIC, 1).await?;
    let process = straight.node.process()?;
    let before = process.pss()?;
    let begun = Instant::now();
    let mut crowd = Crowd::gather(&spu, TOPIC, CONSUMERS).await?;
    let connected = begun.elapsed();
    let each = |now: u64| now.saturating_sub(before) as f64 / 1024.0 / CONSUMERS as f64;
    let quiet = each(process.pss()?);
    let begun = Instant::now();
    on_a_thread(move || {
        let mut prepared = Prepared::new(TOPIC, 0, &[vec![b'x'; RECORD_BYTES]])?;
        produce::one_at_a_time(&mut spu.connect()?, &mut prepared, RECORDS)
    })
    .await?;
    crowd.reach(i64::from(RECORDS), ALL_WITHIN).await?;
    let delivered = begun.elapsed();
    tokio::time::sleep(SETTLED).await;
    let after = each(process.pss()?);
    crowd.reach(i64::from(RECORDS), ALL_WITHIN).await.context("a consumer did not stay")?;
    let what = format!("memory of an SPU for each of {CONSUMERS} consumers over mutual TLS, PSS growth");
    report.add(
        Figure::of(&what, "KiB", Better::Lower, vec![after])
            .target(32.0)
            .beside("before they had a record (KiB)", quiet)
            .beside("the process before they came (MB)", before as f64 / 1e6)
            .beside("consumers that have every record", CONSUMERS as f64)
            .beside("until all were connected (s)", connected.as_secs_f64())
            .beside("records that each was sent, in requests one after the other", f64::from(RECORDS))
            .beside("first sent to the last one's last received (s)", delivered.as_secs_f64()),
    );
    Ok(())
}

/// Lets this process, and those that it starts, have so many files open.
fn allow_files(wanted: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|most| most >= wanted);
    if enough(limit.current) {
        return Ok(());
    }
    // Only root may raise the hard limit.
    let maximum = if enough(limit.maximum) { limit.maximum } else { Some(wanted) };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raised.with_context(|| {
        format!("{wanted} files may not be open at once\nfix: ulimit -n {wanted}, or run it as root")
    })?;
    ensure!(enough(getrlimit(Resource::Nofile).current), "the limit of open files was not raised");
    Ok(())
}
