//! Gives clusters their turns: a bounded number at the same time, in the order in which something happened.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::pass::{self, Ground};
use super::watch::WATCHES;

/// How long a missed wake-up can go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Passes at the same time, for each request to the API server at the same time: some wait for an SC that does not
/// answer, and hold up nobody.
const PASSES_PER_WORKER: usize = 4;

/// Gives turns for ever; to be dropped to end.
pub async fn give(ground: Arc<Ground>) {
    let most = ground.fleet.site().config.workers * PASSES_PER_WORKER;
    let mut passes = JoinSet::new();
    // Before everything was seen once, what is there would look as if it were missing.
    while !ground.fleet.is_synced(&WATCHES) {
        wait(&ground, None).await;
    }
    loop {
        while passes.try_join_next().is_some() {}
        if passes.len() >= most {
            passes.join_next().await;
            continue;
        }
        match ground.fleet.next() {
            Ok((cluster, lease, mind)) => {
                let ground = Arc::clone(&ground);
                passes.spawn(async move {
                    let end = pass::run(&ground, cluster, lease, mind).await;
                    ground.fleet.done(cluster, lease, end.mind, end.next);
                });
            }
            Err(next) => wait(&ground, next).await,
        }
    }
}

async fn wait(ground: &Ground, until: Option<Instant>) {
    let longest = Instant::now() + LOOK_EVERY;
    let until = until.map_or(longest, |until| until.min(longest));
    let _ = tokio::time::timeout_at(until, ground.fleet.turn.notified()).await;
}
