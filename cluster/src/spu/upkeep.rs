//! What an SPU does without being asked: retention, reports, and another try for a log that failed.

use std::sync::Arc;
use std::time::Duration;

use cluster_storage::State;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::{Replica, Spu, changed};

/// One timer for all partitions.
const PERIOD: Duration = Duration::from_secs(10);

impl Spu {
    /// Keeps house until stopped.
    pub(super) async fn keep_house(self: Arc<Self>) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut elsewhere = self.link.storage_elsewhere();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = changed(&mut elsewhere) => self.follow_settings(),
                () = self.leads.one_failed() => self.replicas.all().iter().for_each(|replica| self.report(replica)),
                _ = ticks.tick() => self.maintain().await,
            }
        }
    }

    async fn maintain(self: &Arc<Self>) {
        let mut failed = false;
        for replica in self.replicas.all() {
            let open = replica.log.as_ref().is_ok_and(|log| log.state() == State::Open);
            if !open {
                // Opened again it may have less, and leads in another epoch only.
                self.bygone.add(&replica.assignment);
            }
            match &replica.log {
                Ok(log) if open => {
                    if let Err(error) = log.maintain().await {
                        warn!(partition = %replica.assignment.key, %error, "retention did not run");
                    }
                }
                Ok(log) => {
                    // Its disk failed; closed and opened again it recovers what is there.
                    log.close().await;
                    failed = true;
                }
                Err(_) => failed = true,
            }
            self.report(&replica);
        }
        if failed {
            self.reopen_failed().await;
        }
    }

    /// Also those that failed only now, while others were looked after.
    async fn reopen_failed(self: &Arc<Self>) {
        {
            let _nothing_is_applied = self.applying.lock().await;
            let is_open =
                |replica: &Arc<Replica>| replica.log.as_ref().is_ok_and(|log| log.state() == State::Open);
            let (usable, failed): (Vec<_>, Vec<_>) = self.replicas.all().into_iter().partition(is_open);
            for replica in failed {
                self.bygone.add(&replica.assignment);
                replica.close().await;
            }
            self.replicas.replace(usable);
        }
        if let Err(error) = self.apply_view().await {
            warn!(%error, "the SC's word is not followed in all yet");
        }
    }
}
