//! All clusters of the region, as far as this provisioner knows them: what is wanted, what is live, and whose
//! turn it is to be worked on. There is no task and no timer for a cluster that nothing happens to but an entry
//! in one ordered set.

mod hear;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::live::{Live, NamespaceFacts, Watched};
use super::mind::Mind;
use super::objects::{Shape, Site};
use super::rolls::Rolls;
use crate::store::Lease;
use crate::store::fleet::Row;

/// The least time between two clusters that are looked at past the watches.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(1);

/// One cluster.
#[derive(Default)]
struct Ward {
    row: Option<Row>,
    lease: Option<Lease>,
    live: Live,
    /// The Secret that its pods are to mount, once that is decided.
    internal: Option<Arc<str>>,
    /// The number of SPUs to which it may shrink, once that is decided.
    shrunk: Option<u8>,
    /// What is remembered from pass to pass; with the pass while one runs.
    mind: Option<Box<Mind>>,
    busy: bool,
    /// Something happened during the pass.
    again: bool,
    queued: bool,
    /// It had a turn.
    begun: bool,
    due: Option<Instant>,
    /// When something was last heard of its live objects.
    heard: Option<Instant>,
}

impl Ward {
    fn shape(&self) -> Option<Shape> {
        let wanted = &self.row.as_ref()?.wanted;
        let spus = match self.live.spus() {
            // An SPU that has objects keeps them until it is known to hold nothing.
            Some(given) if given > wanted.spus && self.shrunk != Some(wanted.spus) => given,
            _ => wanted.spus,
        };
        Some(Shape {
            cluster: wanted.cluster,
            tenant: wanted.tenant,
            domain: wanted.domain.clone(),
            plan: wanted.plan,
            spus: spus.max(1),
            runs: !wanted.rests(),
            internal: self.internal.as_deref().map(str::to_owned),
        })
    }
}

/// A cluster at one moment.
pub struct View {
    /// What is wanted.
    pub row: Row,
    /// What its objects are made from.
    pub shape: Shape,
    /// What is live.
    pub live: Live,
    /// When something was last heard of it.
    pub heard: Option<Instant>,
}

#[derive(Default)]
struct Inner {
    wards: HashMap<Uuid, Ward>,
    /// Clusters that were begun, or were whole once.
    ready: VecDeque<Uuid>,
    /// Clusters that nothing was done for yet: one after the other is better than all at once and none for long.
    new: VecDeque<Uuid>,
    timers: BTreeSet<(Instant, Uuid)>,
    /// Requests for certificates that the signer has not answered yet, and whose they are.
    asked: HashMap<Uuid, Uuid>,
    rolls: Rolls,
    /// When a cluster was last looked at past the watches.
    looked: Option<Instant>,
    /// Round of each watch, and whether its first whole look is done.
    rounds: BTreeMap<Watched, (u32, bool)>,
}

/// See the module.
pub struct Fleet {
    site: Site,
    inner: Mutex<Inner>,
    /// Somebody's turn came.
    pub turn: Notify,
    /// What is wanted was read once.
    wanted: watch::Sender<bool>,
}

impl Fleet {
    /// No cluster yet.
    pub fn new(site: Site) -> Self {
        Self { site, inner: Mutex::default(), turn: Notify::new(), wanted: watch::Sender::new(false) }
    }

    /// What is the same for all clusters.
    pub fn site(&self) -> &Site {
        &self.site
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can panic half-way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every row was taken in once.
    pub fn rows_are_known(&self) {
        self.wanted.send_if_modified(|known| !std::mem::replace(known, true));
    }

    /// Waits until every row was taken in once. What is live is compared with what is wanted when it is heard of: a
    /// fleet that is heard of before would have to be read again, object by object.
    pub async fn until_rows_are_known(&self) {
        // The sender is in here: it does not go away.
        let _ = self.wanted.subscribe().wait_for(|known| *known).await;
    }

    /// Takes in a row; says whether it was new or other than before.
    pub fn want(&self, row: Row) -> bool {
        let mut inner = self.inner();
        let cluster = row.wanted.cluster;
        let ward = inner.wards.entry(cluster).or_default();
        if ward.row.as_ref() == Some(&row) {
            return false;
        }
        ward.row = Some(row);
        if ward.lease.is_some() {
            self.queue(&mut inner, cluster);
        }
        true
    }

    /// Takes in the ids of all rows; forgets clusters that have none any more.
    pub fn only(&self, existing: &BTreeSet<Uuid>) {
        let mut inner = self.inner();
        for (cluster, ward) in &mut inner.wards {
            if !existing.contains(cluster) && !ward.busy {
                (ward.row, ward.lease, ward.mind) = (None, None, None);
            }
        }
        inner.wards.retain(|_, ward| ward.row.is_some() || ward.busy || !ward.live.is_nothing());
    }

    /// Clusters that have live objects and no row.
    pub fn strangers(&self) -> Vec<Uuid> {
        let inner = self.inner();
        let strange = inner.wards.iter().filter(|(_, ward)| ward.row.is_none() && !ward.live.is_nothing());
        strange.map(|(cluster, _)| *cluster).collect()
    }

    /// Clusters that have a row again.
    pub fn returned(&self) -> Vec<Uuid> {
        let inner = self.inner();
        let back = |ward: &Ward| ward.row.is_some() && ward.live.orphaned_since().is_some();
        inner.wards.iter().filter(|(_, ward)| back(ward)).map(|(cluster, _)| *cluster).collect()
    }

    /// What is live of a cluster.
    pub fn live(&self, cluster: Uuid) -> Live {
        self.inner().wards.get(&cluster).map(|ward| ward.live.clone()).unwrap_or_default()
    }

    /// Clusters that this provisioner works on.
    pub fn held(&self) -> BTreeMap<Uuid, Lease> {
        let inner = self.inner();
        inner.wards.iter().filter_map(|(cluster, ward)| Some((*cluster, ward.lease?))).collect()
    }

    /// Takes up a cluster.
    pub fn hold(&self, cluster: Uuid, lease: Lease, mind: Mind) {
        let mut inner = self.inner();
        let Some(ward) = inner.wards.get_mut(&cluster) else { return };
        ward.lease = Some(lease);
        if !ward.busy {
            ward.mind = Some(Box::new(mind));
        }
        self.queue(&mut inner, cluster);
    }

    /// Gives up every cluster whose lease is not one of these.
    pub fn keep_leases(&self, tokens: &BTreeMap<Uuid, i64>) {
        let mut inner = self.inner();
        for (cluster, ward) in &mut inner.wards {
            if ward.lease.is_some_and(|lease| tokens.get(cluster) != Some(&lease.token)) {
                ward.lease = None;
                ward.mind = None;
            }
        }
    }

    /// Gives up one cluster.
    pub fn drop_lease(&self, cluster: Uuid) {
        if let Some(ward) = self.inner().wards.get_mut(&cluster) {
            (ward.lease, ward.mind) = (None, None);
        }
    }

    /// Whether a cluster is still worked on under this lease.
    pub fn holds(&self, cluster: Uuid, lease: Lease) -> bool {
        self.inner().wards.get(&cluster).is_some_and(|ward| ward.lease == Some(lease))
    }

    /// Clusters, and those of them that are being worked on.
    pub fn counts(&self) -> (usize, usize, usize) {
        let inner = self.inner();
        let held = inner.wards.values().filter(|ward| ward.lease.is_some()).count();
        (inner.wards.len(), held, inner.ready.len() + inner.new.len())
    }

    // ── Turns ────────────────────────────────────────────────────────────────────────────────────────────

    /// Something about a cluster changed.
    pub fn wake(&self, cluster: Uuid) {
        self.queue(&mut self.inner(), cluster);
    }

    fn queue(&self, inner: &mut Inner, cluster: Uuid) {
        let Some(ward) = inner.wards.get_mut(&cluster) else { return };
        if ward.busy {
            ward.again = true;
        } else if !ward.queued && ward.lease.is_some() {
            ward.queued = true;
            let begun = ward.begun || ward.live.namespace() != NamespaceFacts::Absent;
            if begun {
                inner.ready.push_back(cluster)
            } else {
                inner.new.push_back(cluster)
            }
            self.turn.notify_one();
        }
    }

    /// The next cluster whose turn it is, with what is remembered of it; or when the next timer ends.
    pub fn next(&self) -> Result<(Uuid, Lease, Box<Mind>), Option<Instant>> {
        let mut inner = self.inner();
        let now = Instant::now();
        while let Some((due, cluster)) = inner.timers.first().copied().filter(|(due, _)| *due <= now) {
            inner.timers.remove(&(due, cluster));
            if let Some(ward) = inner.wards.get_mut(&cluster) {
                ward.due = None;
            }
            self.queue(&mut inner, cluster);
        }
        while let Some(cluster) = inner.ready.pop_front().or_else(|| inner.new.pop_front()) {
            let Some(ward) = inner.wards.get_mut(&cluster) else { continue };
            ward.queued = false;
            let Some((lease, mind)) = ward.lease.zip(ward.mind.take()) else { continue };
            (ward.busy, ward.begun) = (true, true);
            ward.again = false;
            if let Some(due) = ward.due.take() {
                inner.timers.remove(&(due, cluster));
            }
            return Ok((cluster, lease, mind));
        }
        Err(inner.timers.first().map(|(due, _)| *due))
    }

    fn free_roll(&self, inner: &mut Inner, cluster: Uuid) {
        if let Some(next) = inner.rolls.leave(cluster) {
            self.queue(inner, next);
        }
    }

    /// A pass is over; the cluster's next turn is then, or earlier if something happens.
    pub fn done(&self, cluster: Uuid, lease: Lease, mind: Option<Box<Mind>>, next: Instant) {
        let mut inner = self.inner();
        let Some(ward) = inner.wards.get_mut(&cluster) else { return };
        ward.busy = false;
        // A lease that was lost and taken again in between has another token: the next pass starts afresh.
        let Some(mind) = mind.filter(|_| ward.lease == Some(lease)) else {
            ward.lease = None;
            self.free_roll(&mut inner, cluster);
            return;
        };
        ward.mind = Some(mind);
        if ward.again {
            ward.again = false;
            self.queue(&mut inner, cluster);
            return;
        }
        ward.due = Some(next);
        inner.timers.insert((next, cluster));
        self.turn.notify_one();
    }

    /// Removes a cluster that is gone for good.
    pub fn remove(&self, cluster: Uuid) {
        if let Some(ward) = self.inner().wards.get_mut(&cluster) {
            (ward.row, ward.lease, ward.mind) = (None, None, None);
        }
    }

    /// A cluster as it is now.
    pub fn view(&self, cluster: Uuid) -> Option<View> {
        let inner = self.inner();
        let ward = inner.wards.get(&cluster)?;
        Some(View {
            row: ward.row.clone()?,
            shape: ward.shape()?,
            live: ward.live.clone(),
            heard: ward.heard,
        })
    }

    /// Decides which Secret a cluster's pods mount.
    pub fn decide_internal(&self, cluster: Uuid, internal: Option<Arc<str>>) {
        if let Some(ward) = self.inner().wards.get_mut(&cluster) {
            ward.internal = internal;
        }
    }

    /// Decides that a cluster may shrink to this number of SPUs.
    pub fn decide_shrunk(&self, cluster: Uuid, spus: u8) {
        if let Some(ward) = self.inner().wards.get_mut(&cluster) {
            ward.shrunk = Some(spus);
        }
    }

    /// Whether a cluster whose servers are to be renewed may begin or go on.
    pub fn enter_roll(&self, cluster: Uuid) -> bool {
        self.inner().rolls.enter(cluster, self.site.config.rolls)
    }

    /// The servers of a cluster are renewed, or need not be: it makes room for another.
    pub fn leave_roll(&self, cluster: Uuid) {
        self.free_roll(&mut self.inner(), cluster);
    }

    /// Whether a cluster may be looked at past the watches now: one a second of all that have not been heard of for
    /// long. When thousands wait, it is the API server that is slow, and questions make it slower.
    pub fn may_look_again(&self) -> bool {
        let mut inner = self.inner();
        let may = inner.looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN_EVERY);
        if may {
            inner.looked = Some(Instant::now());
        }
        may
    }

    // ── Certificates ─────────────────────────────────────────────────────────────────────────────────────

    /// A cluster waits for the answers to these requests.
    pub fn await_answers(&self, cluster: Uuid, requests: impl Iterator<Item = Uuid>) {
        self.inner().asked.extend(requests.map(|request| (request, cluster)));
    }

    /// All requests that are waited for.
    pub fn awaited(&self) -> Vec<Uuid> {
        self.inner().asked.keys().copied().collect()
    }

    /// The signer answered these requests.
    pub fn answered(&self, requests: &[Uuid]) {
        let mut inner = self.inner();
        for request in requests {
            if let Some(cluster) = inner.asked.remove(request) {
                self.queue(&mut inner, cluster);
            }
        }
    }
}
