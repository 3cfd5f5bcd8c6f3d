//! One record at a time at 1,000 a second: open loop, each timed from the moment it was due.

use e2e::cloud::Cloud;
use e2e::floor::{self, Durations, at};
use e2e::paced;
use e2e::tenant::Tenant;

use crate::report::{Better, Figure, Report, median};

pub const RATE: u32 = 1_000;
pub const RECORDS: u32 = 10_000;

pub async fn measure(cloud: &Cloud, tenant: &Tenant, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    eprintln!("one record at a time at {RATE}/s, {runs} runs");
    let profile = tenant.profile()?;
    let mut consumed = Quantiles::default();
    let mut acknowledged = Quantiles::default();
    let (mut fsync, mut round_trip) = (Quantiles::default(), Quantiles::default());
    for run in 0..runs {
        fsync.note(&floor::fsync(cloud.state(), 1_000)?);
        round_trip.note(&floor::round_trip(2_000)?);
        let measured = paced::run(&profile, (&format!("paced-{run}"), 1), RATE, RECORDS).await?;
        consumed.note(&measured.consumed);
        acknowledged.note(&measured.acknowledged);
    }
    let path = "published Rust client, mutual TLS, through the gateway, fsynced";
    let what = format!("one record at a time at {RATE}/s, due to consumed, {path}");
    let p99 = consumed.p99.clone();
    report.add(
        consumed
            .figure(&format!("{what} (p50)"))
            .target(1.0)
            .hard_floor(5.0)
            .beside("due to acknowledged, p50 (ms)", median(&acknowledged.p50))
            .beside("floor: append 1 KiB and fdatasync, p50 (ms)", median(&fsync.p50))
            .beside("floor: loopback round trip of 100 bytes, p50 (ms)", median(&round_trip.p50)),
    );
    report.add(
        Figure::of(&format!("{what} (p99)"), "ms", Better::Lower, p99)
            .target(3.0)
            .beside("due to acknowledged, p99 (ms)", median(&acknowledged.p99))
            .beside("floor: append 1 KiB and fdatasync, p99 (ms)", median(&fsync.p99)),
    );
    Ok(())
}

/// Quantiles of each run, in milliseconds.
#[derive(Debug, Default)]
pub struct Quantiles {
    pub p50: Vec<f64>,
    pub p90: Vec<f64>,
    pub p99: Vec<f64>,
    pub p9999: Vec<f64>,
}

impl Quantiles {
    pub fn note(&mut self, run: &Durations) {
        let millis = |quantile| at(run, quantile).as_secs_f64() * 1e3;
        self.p50.push(millis(0.5));
        self.p90.push(millis(0.9));
        self.p99.push(millis(0.99));
        self.p9999.push(millis(0.9999));
    }

    pub fn figure(&self, what: &str) -> Figure {
        Figure::of(what, "ms", Better::Lower, self.p50.clone())
            .beside("p90 (ms)", median(&self.p90))
            .beside("p99 (ms)", median(&self.p99))
            .beside("p99.99 (ms)", median(&self.p9999))
    }
}
