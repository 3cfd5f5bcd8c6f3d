//! Waiting for a condition with a deadline, instead of sleeping and hoping.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::bail;

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

/// The limit on this machine: `FLUVIO_CLOUD_PATIENCE` times as long, for one that is slower than two quiet cores.
fn patient(limit: Duration) -> Duration {
    static TIMES: LazyLock<u32> = LazyLock::new(|| {
        let times = std::env::var("FLUVIO_CLOUD_PATIENCE");
        times.map_or(1, |times| times.parse().expect("FLUVIO_CLOUD_PATIENCE is a number"))
    });
    limit * *TIMES
}

/// Waits until `look` finds something; says `what` was awaited, and the last failure, when time is up.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    until_every(STEP, what, limit, look).await
}

/// The same with a look that costs something, so that it is not taken too often.
pub async fn until_every<T>(
    step: Duration,
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let limit = patient(limit);
    let end = Instant::now() + limit;
    let mut last = String::new();
    loop {
        match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = format!("; last failure: {error:#}"),
        }
        if Instant::now() > end {
            bail!("{what}: not within {limit:?}{last}");
        }
        tokio::time::sleep(step).await;
    }
}

/// The same for a thread without a runtime.
pub fn until_blocking<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let limit = patient(limit);
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(STEP);
    }
}

/// Ends `work` with an error that says what took too long.
pub async fn within<T, E>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    let limit = patient(limit);
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => bail!("{what}: not within {limit:?}"),
    }
}
