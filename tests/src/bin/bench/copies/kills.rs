//! Leaders that are killed under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use e2e::cloud::Cloud;
use e2e::generator::batches::Prepared;
use e2e::generator::link::{Link, Spu};
use e2e::generator::produce;
use e2e::stream::{STEP_WITHIN, create_copied_topic, producer};
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::{FluvioAdmin, RecordKey};

use super::COPIES;
use crate::report::{Better, Figure, Report};

pub const KILLS: usize = 10;
/// Acknowledged before the leader is killed, and again before the gap is looked at.
const UNDER_LOAD: u64 = 200;
/// Before a writer that was refused tries again.
const PAUSE: Duration = Duration::from_millis(2);

/// What the clients of one killed leader saw.
struct Kill {
    /// Until a new published client has a record acknowledged, in seconds.
    published: f64,
    /// The longest time without an acknowledgement for the writer that was there before, in seconds.
    longest_gap: f64,
}

pub async fn measure(cloud: &Cloud, tenant: &Tenant, report: &mut Report) -> anyhow::Result<()> {
    let mut kills = Vec::new();
    for kill in 0..KILLS {
        kills.push(one_kill(cloud, tenant, &format!("killed-{kill}")).await?);
    }
    let slowest = |runs: &[f64]| runs.iter().copied().fold(f64::NAN, f64::max);
    let published: Vec<f64> = kills.iter().map(|kill| kill.published).collect();
    let gaps: Vec<f64> = kills.iter().map(|kill| kill.longest_gap).collect();
    let worst = slowest(&published);
    let what =
        "leader killed under load to next record acknowledged, new published client after an error (median)";
    report.add(
        Figure::of(what, "s", Better::Lower, published).target(1.0).beside("slowest of the kills (s)", worst),
    );
    let worst = slowest(&gaps);
    let median = crate::report::median(&gaps);
    let what = format!(
        "leader killed under load, longest time without an acknowledgement for the writer, p99 (slowest of {KILLS} kills)"
    );
    report.add(
        Figure::of(&what, "s", Better::Lower, vec![worst])
            .target(1.0)
            .beside("median of the kills (s)", median),
    );
    Ok(())
}

/// Kills the leader of a fresh partition that is written to.
async fn one_kill(cloud: &Cloud, tenant: &Tenant, topic: &str) -> anyhow::Result<Kill> {
    let admin = tenant.admin().await?;
    create_copied_topic(&admin, topic, 1, COPIES).await?;
    let spu = Spu::leading(&admin, &tenant.profile()?, topic).await?;
    let name = spu.name.split('.').next().context("a name has labels")?;
    let file = format!("{name}.toml");
    let processes = cloud.cluster(&tenant.cluster.id);
    let process = processes.iter().find(|each| each.mentions(&file)).context("the leader's process")?;
    let writer = Writer::start(spu, topic)?;
    writer.acknowledges(UNDER_LOAD).await?;
    writer.forget_gaps();
    let begin = Instant::now();
    process.kill()?;
    until("a record is acknowledged again", Duration::from_secs(60), async || {
        send(tenant, topic).await.map(Some)
    })
    .await?;
    let published = begin.elapsed().as_secs_f64();
    writer.acknowledges(UNDER_LOAD).await?;
    let longest_gap = writer.stop()?.as_secs_f64();
    all_back(&admin, topic).await?;
    Ok(Kill { published, longest_gap })
}

async fn all_back(admin: &FluvioAdmin, topic: &str) -> anyhow::Result<()> {
    until("every SPU is back", Duration::from_secs(60), async || {
        let copies = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
        let mut of_topic = copies.iter().filter(|found| found.name.starts_with(topic));
        Ok(of_topic.all(|found| found.status.lsr == COPIES).then_some(()))
    })
    .await
}

async fn send(tenant: &Tenant, topic: &str) -> anyhow::Result<()> {
    let producer = producer(&tenant.client().await?, topic).await?;
    let output = within("sent", STEP_WITHIN, producer.send(RecordKey::NULL, "x")).await?;
    within("flushed", STEP_WITHIN, producer.flush()).await?;
    within("acknowledged", STEP_WITHIN, output.wait()).await?;
    Ok(())
}

/// A thread with one request in flight, that dials the same name again when its connection breaks.
struct Writer {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// The last acknowledgement, and the longest time between two.
    gaps: Mutex<(Option<Instant>, Duration)>,
}

impl Seen {
    fn note(&self) {
        let now = Instant::now();
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = gaps.0.map_or(Duration::ZERO, |last| now - last);
        *gaps = (Some(now), gaps.1.max(gap));
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

impl Writer {
    fn start(spu: Spu, topic: &str) -> anyhow::Result<Writer> {
        let mut prepared = Prepared::new(topic, 0, &[vec![b'x'; 100]])?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let mut link: Option<Link> = None;
            while !shared.stop.load(Ordering::Relaxed) {
                let done = match &mut link {
                    None => spu.connect().map(|fresh| link = Some(fresh)),
                    Some(link) => produce::one_at_a_time(link, &mut prepared, 1).map(|_| shared.note()),
                };
                if done.is_err() {
                    link = None;
                    std::thread::sleep(PAUSE);
                }
            }
        });
        Ok(Writer { seen, thread: Some(thread) })
    }

    /// Waits for so many more acknowledgements.
    async fn acknowledges(&self, more: u64) -> anyhow::Result<()> {
        let goal = self.seen.acknowledged.load(Ordering::Relaxed) + more;
        until("the writer goes on", Duration::from_secs(60), async || {
            Ok((self.seen.acknowledged.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    }

    fn forget_gaps(&self) {
        self.seen.gaps.lock().unwrap_or_else(PoisonError::into_inner).1 = Duration::ZERO;
    }

    /// Ends it; the longest time without an acknowledgement.
    fn stop(mut self) -> anyhow::Result<Duration> {
        self.seen.stop.store(true, Ordering::Relaxed);
        if self.thread.take().context("it runs")?.join().is_err() {
            bail!("the writer ended badly");
        }
        Ok(self.seen.gaps.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}
