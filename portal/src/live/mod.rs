//! "Look again": one connection of the whole process listens to Postgres, and everybody who waits is woken. A
//! notification carries nothing; whoever is woken looks for himself, and looks on a timer too.

pub mod events;

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// After a lost connection, before the next attempt.
const RETRY: Duration = Duration::from_secs(2);
/// The channels that matter to pages and waiting requests.
const CHANNELS: [&str; 3] = ["clusters", "cluster_status", "certificates"];

/// A point in the sequence of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

/// Wakes whoever waits for a change.
pub struct Live {
    changes: watch::Receiver<u64>,
}

/// One who waits.
pub struct Changes {
    changes: watch::Receiver<u64>,
    seen: u64,
}

impl Live {
    /// Starts to listen, for as long as the process lives.
    pub fn start(pool: PgPool, stopping: CancellationToken) -> Self {
        let (bump, changes) = watch::channel(0);
        tokio::spawn(async move {
            tokio::select! { () = stopping.cancelled() => {}, () = listen_forever(pool, bump) => {} }
        });
        Live { changes }
    }

    /// The moment now: what changes afterwards is seen by [`Live::since`].
    pub fn now(&self) -> Moment {
        Moment(*self.changes.borrow())
    }

    /// Waits for changes after a moment.
    pub fn since(&self, moment: Moment) -> Changes {
        Changes { changes: self.changes.clone(), seen: moment.0 }
    }
}

impl Changes {
    /// Waits until something changed since the last look, or for the given time.
    pub async fn wait_at_most(&mut self, patience: Duration) {
        let seen = self.seen;
        let _ = timeout(patience, self.changes.wait_for(|now| *now != seen)).await;
        self.seen = *self.changes.borrow();
    }
}

async fn listen_forever(pool: PgPool, bump: watch::Sender<u64>) {
    loop {
        match listen(&pool, &bump).await {
            Ok(()) => tracing::warn!("lost the connection that listens to Postgres; connecting again"),
            Err(error) => tracing::warn!("waiting for Postgres: {error}"),
        }
        bump.send_modify(|now| *now += 1);
        sleep(RETRY).await;
    }
}

/// Listens until the connection is lost.
async fn listen(pool: &PgPool, bump: &watch::Sender<u64>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(true);
    listener.listen_all(CHANNELS).await?;
    // What changed before the first LISTEN was in place is seen now.
    bump.send_modify(|now| *now += 1);
    while listener.try_recv().await?.is_some() {
        bump.send_modify(|now| *now += 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_asking_and_waiting_is_not_missed() {
        let (bump, changes) = watch::channel(0);
        let live = Live { changes };
        let moment = live.now();
        bump.send_modify(|now| *now += 1);
        let mut waiting = live.since(moment);
        timeout(Duration::from_secs(5), waiting.wait_at_most(Duration::from_secs(60))).await.unwrap();
        assert_eq!(waiting.seen, 1);
    }
}
