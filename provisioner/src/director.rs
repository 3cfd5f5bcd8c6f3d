//! The loop over all clusters of this machine: reads what is wanted, holds the leases, and gives each
//! cluster's keeper its order. It does nothing to a cluster itself, so no slow cluster holds up another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::complaint::Complaint;
use crate::folder::{Ownership, Place};
use crate::keeper::{Ground, Keeper, Order, remove_for_good};
use crate::process::{Goal, Launcher, Limits, Supervisor};
use crate::record::Shelf;
use crate::status::{State, Status};
use crate::store::{self, Lease, Seen, StoreError};
use crate::users::UsersError;

/// How long a missed notification can go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Leases last three times as long.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// What a process has for its orderly end, and a little more.
const EXIT_GRACE: Duration = Duration::from_millis(5_500);

struct Kept {
    /// Without orders the keeper ends by itself, when what it has in hand is done.
    orders: Option<watch::Sender<Order>>,
    task: JoinHandle<()>,
}

/// See the module.
pub struct Director {
    ground: Arc<Ground>,
    holder: Uuid,
    look: Arc<Notify>,
    tokens: BTreeMap<Uuid, i64>,
    keepers: BTreeMap<Uuid, Kept>,
    supervisors: BTreeMap<Uuid, Arc<Supervisor>>,
    renewed: Option<Instant>,
    complaint: Complaint,
}

impl Director {
    /// Takes up the clusters that this machine's disk knows of; their processes are adopted and supervised
    /// from now on, with or without a database.
    pub fn new(ground: Arc<Ground>, holder: Uuid, look: Arc<Notify>) -> Self {
        let mut director = Self {
            ground,
            holder,
            look,
            tokens: BTreeMap::new(),
            keepers: BTreeMap::new(),
            supervisors: BTreeMap::new(),
            renewed: None,
            complaint: Complaint::default(),
        };
        for cluster in director.known_on_disk() {
            if let Err(error) = director.supervisor(cluster) {
                error!(%cluster, %error, "cannot take up a cluster");
            }
        }
        director
    }

    /// Works for ever.
    pub async fn run(&mut self) {
        loop {
            let round = self.round().await;
            self.complaint.hear(round);
            let _ = tokio::time::timeout(LOOK_EVERY, self.look.notified()).await;
        }
    }

    /// Ends the work; the clusters' processes too, if that is how this cloud is run.
    pub async fn stop(&mut self, clusters_too: bool) {
        for (_, kept) in std::mem::take(&mut self.keepers) {
            kept.task.abort();
        }
        if !clusters_too {
            return;
        }
        for supervisor in self.supervisors.values() {
            supervisor.aim(Goal::Rest);
        }
        let end = Instant::now() + EXIT_GRACE;
        for (cluster, supervisor) in &self.supervisors {
            let mut state = supervisor.state();
            let rests = state.wait_for(|state| state.keeps(&[]));
            if tokio::time::timeout_at(end, rests).await.is_err() {
                warn!(%cluster, "its processes did not stop in time");
            }
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let config = &self.ground.config;
        let mut seen = store::look(&self.ground.pool, &config.region, &config.host).await?;
        self.renew_when_due().await?;
        self.claim(&seen).await?;
        let (holder, tokens) = (self.holder, &self.tokens);
        let foreign = |seen: &Seen| seen.lease.is_some_and(|(lease, live)| live && lease.holder != holder);
        let ours = |seen: &Seen| !foreign(seen) && tokens.contains_key(&seen.wanted.cluster);
        let known: BTreeSet<Uuid> = seen.iter().map(|seen| seen.wanted.cluster).collect();
        seen.retain(ours);
        for seen in seen {
            self.direct(&seen).await?;
        }
        for (cluster, kept) in &mut self.keepers {
            if !known.contains(cluster) || !self.tokens.contains_key(cluster) {
                kept.orders = None;
            }
        }
        self.keepers.retain(|_, kept| !kept.task.is_finished());
        self.sweep(&known).await
    }

    async fn renew_when_due(&mut self) -> Result<(), StoreError> {
        if self.renewed.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
            return Ok(());
        }
        let held = store::renew(&self.ground.pool, self.holder).await?;
        // A token that is not the one taken here was taken by a later holder of the same name.
        self.tokens.retain(|cluster, token| held.get(cluster) == Some(token));
        self.renewed = Some(Instant::now());
        Ok(())
    }

    async fn claim(&mut self, seen: &[Seen]) -> Result<(), StoreError> {
        let free = |seen: &&Seen| match seen.lease {
            None => true,
            Some((lease, live)) => {
                let own = lease.holder == self.holder;
                (own && self.tokens.get(&seen.wanted.cluster) != Some(&lease.token)) || (!own && !live)
            }
        };
        let free: Vec<Uuid> = seen.iter().filter(free).map(|seen| seen.wanted.cluster).collect();
        if free.is_empty() {
            return Ok(());
        }
        let taken = store::claim(&self.ground.pool, &self.ground.config.host, self.holder, &free).await?;
        self.tokens.extend(taken);
        Ok(())
    }

    /// Gives a cluster's keeper its order; makes the keeper first, if there is none.
    async fn direct(&mut self, seen: &Seen) -> Result<(), StoreError> {
        let cluster = seen.wanted.cluster;
        let Some(token) = self.tokens.get(&cluster).copied() else { return Ok(()) };
        let order = Order { wanted: seen.wanted.clone(), lease: Lease { holder: self.holder, token } };
        if let Some(kept) = self.keepers.get(&cluster).filter(|kept| !kept.task.is_finished()) {
            if let Some(orders) = &kept.orders {
                orders.send_if_modified(|current| {
                    let changed = *current != order;
                    *current = order;
                    changed
                });
            }
            return Ok(());
        }
        let (supervisor, owner) = match self.supervisor(cluster) {
            Ok(pair) => pair,
            Err(error) => return self.record_no_room(seen, order.lease, &error).await,
        };
        let place = Place::new(&self.ground.process.clusters_dir, cluster);
        let keeper = Keeper::new(Arc::clone(&self.ground), place, owner, supervisor, seen);
        let (orders, receiver) = watch::channel(order);
        let look = Arc::clone(&self.look);
        let task = tokio::spawn(async move {
            keeper.run(receiver).await;
            look.notify_one();
        });
        self.keepers.insert(cluster, Kept { orders: Some(orders), task });
        Ok(())
    }

    async fn record_no_room(&self, seen: &Seen, lease: Lease, error: &UsersError) -> Result<(), StoreError> {
        let before = seen.status.clone().unwrap_or_default();
        let status = Status {
            state: State::Failed,
            reason: "Its machine has no room for another cluster; its operator has to look".into(),
            last_error: Some(error.to_string()),
            ..before.clone()
        };
        if status == before {
            return Ok(());
        }
        store::record_status(&self.ground.pool, lease, seen.wanted.cluster, &status).await
    }

    /// The supervisor of a cluster, and whose processes they are.
    fn supervisor(&mut self, cluster: Uuid) -> Result<(Arc<Supervisor>, Ownership), UsersError> {
        let config = &self.ground.process;
        let user = self.ground.users.as_ref().map(|users| users.of(cluster)).transpose()?;
        let owner = Ownership { user, gateway_group: config.gateway_gid.filter(|_| user.is_some()) };
        if let Some(supervisor) = self.supervisors.get(&cluster) {
            return Ok((Arc::clone(supervisor), owner));
        }
        let place = Place::new(&config.clusters_dir, cluster);
        let shelf = Shelf::new(&config.state_dir, cluster);
        shelf.make()?;
        let launcher = Launcher {
            itself: config.launcher(),
            program: config.cluster_program.clone(),
            folder: place.path(),
            user,
            limits: Limits { memory_bytes: config.memory_bytes, open_files: config.open_files },
        };
        let supervisor = Arc::new(Supervisor::start(launcher, place, shelf.processes_file(), Goal::AsBefore));
        self.supervisors.insert(cluster, Arc::clone(&supervisor));
        Ok((supervisor, owner))
    }

    /// Clusters of which something is on this disk, whether their record survived or only their folder.
    fn known_on_disk(&self) -> BTreeSet<Uuid> {
        let config = &self.ground.process;
        let folders = std::fs::read_dir(&config.clusters_dir).into_iter().flatten().flatten();
        let folders = folders.filter_map(|entry| Uuid::try_parse(entry.file_name().to_str()?).ok());
        Shelf::all(&config.state_dir).into_iter().chain(folders).collect()
    }

    /// Ends what belongs to clusters that no longer exist.
    async fn sweep(&mut self, wanted: &BTreeSet<Uuid>) -> Result<(), StoreError> {
        // A keeper that still works may be the one that removes the cluster.
        let unknown = |id: &&Uuid| !wanted.contains(id) && !self.keepers.contains_key(id);
        let unknown: Vec<Uuid> = self.supervisors.keys().filter(unknown).copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let existing = store::existing(&self.ground.pool, &unknown).await?;
        for cluster in unknown {
            let shelf = Shelf::new(&self.ground.process.state_dir, cluster);
            if existing.contains(&cluster) {
                // Moved to another machine or region, or a mistake in the configuration: not ours to judge.
                shelf.not_orphaned();
            } else if let Err(error) = self.end_orphan(cluster, &shelf).await {
                error!(%cluster, %error, "cannot remove what is left of a cluster");
            }
        }
        Ok(())
    }

    async fn end_orphan(&mut self, cluster: Uuid, shelf: &Shelf) -> std::io::Result<()> {
        let Some(supervisor) = self.supervisors.get(&cluster) else { return Ok(()) };
        supervisor.aim(Goal::Run(Vec::new()));
        if !supervisor.state().borrow().keeps(&[]) {
            self.look.notify_one();
            return Ok(());
        }
        let place = Place::new(&self.ground.process.clusters_dir, cluster);
        let kept = Duration::from_secs(self.ground.config.orphan_keep_seconds);
        // Without a folder there is nothing to be sorry for.
        let clean = place.is_gone();
        if !shelf.record().purging && !clean && shelf.orphaned_for()? < kept {
            return Ok(());
        }
        let user = self.ground.users.as_ref().and_then(|users| users.taken(cluster));
        let removed = tokio::task::spawn_blocking(move || remove_for_good(&place, user)).await;
        removed.map_err(std::io::Error::other)??;
        if let Some(users) = &self.ground.users {
            users.free(cluster).map_err(std::io::Error::other)?;
        }
        shelf.remove()?;
        self.supervisors.remove(&cluster);
        self.tokens.remove(&cluster);
        if !clean {
            info!(%cluster, "removed what was left of a cluster that no longer exists");
        }
        Ok(())
    }
}
