//! What an SPU does without being asked: retention, reports, another try for a log that failed, and a look at disks that
//! hang.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster_storage::State;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use super::whole::CopyId;
use super::{Replica, Spu, changed};

/// One timer for all partitions.
const PERIOD: Duration = Duration::from_secs(10);

/// How often it is looked whose disk hangs.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// One partition's retention holds up the others' no longer than this; it is done all the same.
const MAINTAINED_WITHIN: Duration = Duration::from_secs(5);

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

    /// Sees to it that a disk that hangs holds up nobody who need not wait for it: the SC hears of it and has another copy
    /// lead. What else is done here may wait for that disk, so this waits for none, until stopped.
    pub(super) async fn watch_disks(self: Arc<Self>) {
        let (mut looks, mut views) = (interval(LOOK_EVERY), self.link.view());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hanging = BTreeSet::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = changed(&mut views) => self.end_leads_of_others(),
                _ = looks.tick() => self.look_who_hangs(&mut hanging),
            }
        }
    }

    /// Before its word is kept on disk, and followed in all, those leads are over that the SC gave to others.
    fn end_leads_of_others(&self) {
        let (own, view) = (self.id(), Arc::clone(&self.link.view().borrow()));
        self.leads.end_unless(|key, lead| {
            let now = view.assignments.get(key).filter(|now| Some(now.leader) == own);
            now.is_some_and(|now| lead.is_of(now))
        });
    }

    fn look_who_hangs(&self, known: &mut BTreeSet<CopyId>) {
        let mut now = BTreeSet::new();
        for replica in self.replicas.all() {
            let (id, hangs, partition) = (replica.id(), replica.hangs(), &replica.assignment.key);
            if hangs {
                now.insert(id);
            }
            if hangs == known.contains(&id) {
                continue;
            }
            match hangs {
                true => error!(%partition, "the disk does not answer; another copy may lead"),
                false => info!(%partition, "the disk answers again"),
            }
            self.report(&replica);
        }
        *known = now;
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
                    // Else more and more would wait for a writer that hangs.
                    if log.busy_for() < MAINTAINED_WITHIN
                        && let Ok(Err(error)) = timeout(MAINTAINED_WITHIN, log.maintain()).await
                    {
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
