//! Reads what is wanted, as far as it changed, and shares the clusters with the other provisioners of the
//! region by leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::mind::Mind;
use super::pass::Ground;
use super::watch::WATCHES;
use crate::complaint::Complaint;
use crate::store::fleet::{self, Sharing};
use crate::store::{self, Lease, StoreError};

/// How long a missed notification can go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Leases last three times as long.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How soon a cluster is taken over whose provisioner is gone.
const SCAN_EVERY: Duration = Duration::from_secs(3);
/// How soon it is noticed that a row is gone.
const IDS_EVERY: Duration = Duration::from_secs(60);
/// Clusters that are taken in one statement.
const BATCH: usize = 500;

/// See the module.
pub struct Director {
    ground: Arc<Ground>,
    holder: Uuid,
    look: Arc<Notify>,
    /// Where the next look goes on.
    since: Option<fleet::Moment>,
    renewed: Option<Instant>,
    scanned: Option<Instant>,
    counted: Option<Instant>,
    complaint: Complaint,
    sharing: Sharing,
    /// Clusters that were free at the last scan already: nobody else wants them.
    left: BTreeSet<Uuid>,
}

impl Director {
    /// A director that works under this name.
    pub fn new(ground: Arc<Ground>, holder: Uuid, look: Arc<Notify>) -> Self {
        Self {
            ground,
            holder,
            look,
            since: None,
            renewed: None,
            scanned: None,
            counted: None,
            complaint: Complaint::default(),
            sharing: Sharing { provisioners: 1, clusters: 0 },
            left: BTreeSet::new(),
        }
    }

    /// Works for ever.
    pub async fn run(&mut self) {
        loop {
            let round = self.round().await;
            self.complaint.hear(round);
            let synced = self.ground.fleet.is_synced(&WATCHES);
            let pause = if synced { LOOK_EVERY } else { Duration::from_millis(100) };
            let _ = tokio::time::timeout(pause, self.look.notified()).await;
        }
    }

    /// Gives up all clusters, so that the others need not wait for the leases to run out.
    pub async fn stop(&self) {
        let release = fleet::release(&self.ground.pool, self.holder, None);
        match tokio::time::timeout(Duration::from_secs(3), release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the leases were not given up"),
            Err(_) => warn!("the leases were not given up in time"),
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let new = self.look().await?;
        // Nothing is taken that cannot be worked on: another provisioner may see the API server.
        if !self.ground.fleet.is_synced(&WATCHES) {
            return Ok(());
        }
        let mut candidates: BTreeSet<Uuid> = new;
        candidates.extend(self.renew_when_due().await?);
        let mut regardless = BTreeSet::new();
        if is_due(&mut self.scanned, SCAN_EVERY) {
            let free = fleet::free(&self.ground.pool, &self.ground.config.region, BATCH as i64).await?;
            let free: BTreeSet<Uuid> = free.into_iter().collect();
            regardless.extend(free.intersection(&self.left).copied());
            candidates.extend(&free);
            self.left = free;
        }
        self.take(candidates, &regardless).await
    }

    /// Takes in what changed; gives the clusters among it that nobody here works on.
    async fn look(&mut self) -> Result<BTreeSet<Uuid>, StoreError> {
        let (pool, region, fleet) = (&self.ground.pool, &self.ground.config.region, &self.ground.fleet);
        let changes = fleet::changes(pool, region, self.since.as_ref()).await?;
        let held = fleet.held();
        let mut new = BTreeSet::new();
        for row in changes.rows {
            let cluster = row.wanted.cluster;
            if fleet.want(row) && !held.contains_key(&cluster) {
                new.insert(cluster);
            }
        }
        self.since = Some(changes.next);
        fleet.rows_are_known();
        if is_due(&mut self.counted, IDS_EVERY) {
            fleet.only(&fleet::ids(pool, region).await?.into_iter().collect());
        }
        Ok(new)
    }

    /// Renews the leases; gives clusters that are this holder's by the database, and not by our own memory.
    async fn renew_when_due(&mut self) -> Result<Vec<Uuid>, StoreError> {
        if self.renewed.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
            return Ok(Vec::new());
        }
        let (pool, fleet, config) = (&self.ground.pool, &self.ground.fleet, &self.ground.config);
        let tokens = store::renew(pool, self.holder).await?;
        fleet.keep_leases(&tokens);
        self.sharing = fleet::attend(pool, self.holder, &config.region, &config.host).await?;
        self.renewed = Some(Instant::now());
        self.give_back().await?;
        let held = self.ground.fleet.held();
        Ok(tokens.into_keys().filter(|cluster| !held.contains_key(cluster)).collect())
    }

    /// Leaves to others what is more than a fair share.
    async fn give_back(&self) -> Result<(), StoreError> {
        let held = self.ground.fleet.held();
        let excess = excess(held.len(), self.sharing);
        if excess == 0 {
            return Ok(());
        }
        let given: Vec<Uuid> = held.into_keys().take(excess).collect();
        for cluster in &given {
            self.ground.fleet.drop_lease(*cluster);
        }
        info!(clusters = given.len(), provisioners = self.sharing.provisioners, "leaving clusters to others");
        fleet::release(&self.ground.pool, self.holder, Some(&given)).await
    }

    async fn take(&self, candidates: BTreeSet<Uuid>, regardless: &BTreeSet<Uuid>) -> Result<(), StoreError> {
        let (pool, config) = (&self.ground.pool, &self.ground.config);
        let held = self.ground.fleet.held();
        let room = room(held.len(), self.sharing);
        let mut now: Vec<Uuid> = candidates.iter().filter(|c| regardless.contains(c)).copied().collect();
        now.extend(candidates.iter().filter(|c| !regardless.contains(c)).take(room));
        now.retain(|cluster| !held.contains_key(cluster));
        for batch in now.chunks(BATCH) {
            let taken: BTreeMap<_, _> = fleet::take(pool, &config.region, self.holder, batch).await?;
            for (cluster, taken) in taken {
                let lease = Lease { holder: self.holder, token: taken.token };
                self.ground.fleet.hold(cluster, lease, Mind::new(&taken, config.gateway_probe));
            }
        }
        Ok(())
    }
}

fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|at| at.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

fn share(sharing: Sharing) -> usize {
    let provisioners = sharing.provisioners.max(1);
    usize::try_from((sharing.clusters + provisioners - 1) / provisioners).unwrap_or(0)
}

/// Clusters that may be taken at once. Alone, all; among several, a little more than a share.
fn room(held: usize, sharing: Sharing) -> usize {
    if sharing.provisioners <= 1 {
        return usize::MAX;
    }
    let share = share(sharing);
    (share + slack(share)).saturating_sub(held)
}

/// Clusters to give up: nothing for a small difference, so that none goes to and fro.
fn excess(held: usize, sharing: Sharing) -> usize {
    let share = share(sharing);
    if sharing.provisioners <= 1 || held <= share + slack(share) { 0 } else { held - share }
}

fn slack(share: usize) -> usize {
    (share / 10).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provisioners_share_evenly_and_nothing_goes_to_and_fro() {
        let of = |provisioners, clusters| Sharing { provisioners, clusters };
        assert_eq!((room(0, of(1, 9)), excess(9, of(1, 9))), (usize::MAX, 0));
        assert_eq!(excess(10_000, of(2, 10_000)), 5_000);
        assert_eq!(room(0, of(2, 10_000)), 5_500);
        assert_eq!((room(5_000, of(2, 10_000)), excess(5_500, of(2, 10_000))), (500, 0));
        assert_eq!(room(9_999, of(2, 10_000)), 0);
        assert_eq!((room(0, of(3, 1)), excess(1, of(3, 1))), (3, 0));
        assert_eq!((room(0, of(0, 0)), excess(0, of(0, 0))), (usize::MAX, 0));
    }
}
