//! The table in force, and how the next one takes its place.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use super::{Address, BackendKey, ClusterRecord, Snapshot, cut_by};
use crate::limits::{Rate, RateBucket};
use crate::usage::{ClusterUsage, UsageBook};

/// How long a new table waits for the connections that it cuts. They need one turn of the scheduler; a
/// machine that takes longer gets the new table anyway, as their token is already cancelled.
const CUT_PATIENCE: Duration = Duration::from_millis(500);

/// A cluster as long as it is in the table.
#[derive(Debug)]
pub struct Cluster {
    /// Its id.
    pub id: Uuid,
    /// What it used; outlives the table.
    pub usage: Arc<ClusterUsage>,
    /// New connections.
    pub rate: RateBucket,
    max_connections: AtomicU64,
}

/// One server of a cluster as long as its address stands.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: Address,
    /// Cancelled when the route goes: the fence between this route and whoever gets the address next.
    pub cut: CancellationToken,
    open: AtomicU64,
}

/// What a name leads to.
#[derive(Debug, Clone)]
pub struct Route {
    /// The cluster that pays and limits.
    pub cluster: Arc<Cluster>,
    /// The server that answers.
    pub backend: Arc<Backend>,
    /// Servers that may answer for it when it is away: the cluster's other SPUs, for an SPU.
    pub others: Vec<Arc<Backend>>,
}

/// Why a known name gets no connection. The client is told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The cluster has as many connections as it may have.
    #[error("the cluster is at its connection limit")]
    Connections,
    /// Too many new ones in a short time.
    #[error("the cluster has too many new connections")]
    Rate,
}

/// Names to routes. Immutable; replaced whole.
#[derive(Debug, Default)]
pub struct Table {
    names: HashMap<String, Route>,
    clusters: HashMap<Uuid, Arc<Cluster>>,
    backends: HashMap<BackendKey, Arc<Backend>>,
}

impl Table {
    /// The route of exactly this name.
    pub fn get(&self, name: &str) -> Option<&Route> {
        self.names.get(name)
    }

    /// Clusters in the table.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.values()
    }
}

/// A connection that counts for its cluster and its server until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    /// Where it goes.
    pub route: Route,
}

impl OpenConnection {
    /// It goes to this server of the cluster.
    pub fn move_to(&mut self, server: &Arc<Backend>) {
        if Arc::ptr_eq(&self.route.backend, server) {
            return;
        }
        server.open.fetch_add(1, Ordering::AcqRel);
        std::mem::replace(&mut self.route.backend, Arc::clone(server)).open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.route.cluster.usage.open.fetch_sub(1, Ordering::AcqRel);
        self.route.backend.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Route {
    /// The servers that may answer in the order in which they are called: one that just failed comes last.
    pub fn servers(&self, failed: Option<&Arc<Backend>>) -> impl Iterator<Item = &Arc<Backend>> {
        let has_failed =
            move |server: &&Arc<Backend>| failed.is_some_and(|failed| Arc::ptr_eq(failed, server));
        let all = || std::iter::once(&self.backend).chain(&self.others);
        all().filter(move |server| !has_failed(server)).chain(all().filter(has_failed))
    }

    /// Takes a place in the cluster, or says why there is none; a refusal is counted.
    pub fn admit(&self, rate: Rate, now: Instant) -> Result<OpenConnection, Refused> {
        let usage = &self.cluster.usage;
        let limit = self.cluster.max_connections.load(Ordering::Relaxed);
        let taken = usage
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < limit).then_some(open + 1));
        if taken.is_err() {
            usage.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Connections);
        }
        self.backend.open.fetch_add(1, Ordering::AcqRel);
        let connection = OpenConnection { route: self.clone() };
        if !self.cluster.rate.admit(rate, now) {
            usage.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Rate);
        }
        Ok(connection)
    }
}

/// The table in force and the snapshot that it stands for.
#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<Table>,
    book: Arc<UsageBook>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Arc<Snapshot>>,
    confirmed: Option<Instant>,
}

impl Routes {
    /// No routes yet: every name is unknown.
    pub fn new(book: Arc<UsageBook>) -> Self {
        Self { table: ArcSwap::default(), book, state: Mutex::default() }
    }

    /// The table in force.
    pub fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// The snapshot in force; `None` before the first.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.state.lock().snapshot.clone()
    }

    /// When the database last said that the table in force is right; `None` if it never did.
    pub fn confirmed(&self) -> Option<Instant> {
        self.state.lock().confirmed
    }

    /// Remembers that the database just agreed with the table in force.
    pub fn confirm(&self, now: Instant) {
        self.state.lock().confirmed = Some(now);
    }

    /// Puts a newer snapshot in force. Returns the number of servers whose connections were cut. Only one
    /// task may call this at a time, which the follower is.
    pub async fn apply(&self, new: Arc<Snapshot>) -> usize {
        let old_table = self.table.load_full();
        let old = self.snapshot().unwrap_or_default();
        let cut: Vec<Arc<Backend>> =
            cut_by(&old, &new).iter().filter_map(|key| old_table.backends.get(key).cloned()).collect();
        for backend in &cut {
            backend.cut.cancel();
        }
        wait_until_empty(&cut).await;
        let table = build(&new, &old_table, &self.book);
        self.table.store(Arc::new(table));
        self.state.lock().snapshot = Some(new);
        cut.len()
    }
}

/// Waits for the connections of cancelled servers to end.
async fn wait_until_empty(cut: &[Arc<Backend>]) {
    let give_up = Instant::now() + CUT_PATIENCE;
    while cut.iter().any(|backend| backend.open.load(Ordering::Acquire) > 0) {
        if Instant::now() >= give_up {
            warn!("cut connections are slow to end; the new table is in force without waiting for them");
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The table for a snapshot. Clusters keep their counters and servers that stayed keep their connections.
fn build(snapshot: &Snapshot, old: &Table, book: &UsageBook) -> Table {
    let mut table = Table::default();
    let mut contested = Vec::new();
    for record in &snapshot.clusters {
        let cluster = old.clusters.get(&record.id).cloned().unwrap_or_else(|| {
            Arc::new(Cluster {
                id: record.id,
                usage: book.of(record.id),
                rate: RateBucket::default(),
                max_connections: AtomicU64::new(0),
            })
        });
        cluster.max_connections.store(record.max_connections.into(), Ordering::Relaxed);
        let backends = backends_of(record, old);
        for (key, name, backend) in &backends {
            table.backends.insert(key.clone(), backend.clone());
            let others = stand_ins(key, &backends);
            let (name, route) =
                (name.clone(), Route { cluster: cluster.clone(), backend: backend.clone(), others });
            if let Some(other) = table.names.insert(name.clone(), route) {
                error!(%name, one = %other.cluster.id, two = %record.id, "two clusters claim one name; neither gets it");
                contested.push(name);
            }
        }
        table.clusters.insert(record.id, cluster);
    }
    for name in contested {
        table.names.remove(&name);
    }
    table
}

/// Who may answer for a server: an SPU has its partitions led elsewhere while it is away, and any SPU passes on what
/// it does not lead. The SC has no other.
fn stand_ins(of: &BackendKey, backends: &[(BackendKey, String, Arc<Backend>)]) -> Vec<Arc<Backend>> {
    let is_spu = |(_, name): &BackendKey| !name.is_empty();
    let others = backends.iter().filter(|(key, _, _)| is_spu(of) && is_spu(key) && key != of);
    others.map(|(_, _, backend)| backend.clone()).collect()
}

/// The usable servers of one cluster, each with its full server name.
fn backends_of(record: &ClusterRecord, old: &Table) -> Vec<(BackendKey, String, Arc<Backend>)> {
    let mut found = Vec::new();
    if record.domain.bytes().any(|b| b.is_ascii_uppercase()) {
        error!(cluster = %record.id, domain = %record.domain, "the domain is not in lower case, so no hello can name it");
        return found;
    }
    for (name, text) in &record.backends {
        let address: Address = match text.parse() {
            Ok(address) => address,
            Err(reason) => {
                error!(cluster = %record.id, server = %name, address = %text, %reason, "the address is not usable");
                continue;
            }
        };
        let key = (record.id, name.clone());
        let kept = old.backends.get(&key).filter(|b| !b.cut.is_cancelled() && b.address == address);
        let backend = kept.cloned().unwrap_or_else(|| {
            Arc::new(Backend { address, cut: CancellationToken::new(), open: AtomicU64::new(0) })
        });
        let full = if name.is_empty() { record.domain.clone() } else { format!("{name}.{}", record.domain) };
        found.push((key, full, backend));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u128, domain: &str, backends: &[(&str, &str)]) -> ClusterRecord {
        let backends = backends.iter().map(|(n, a)| ((*n).to_owned(), (*a).to_owned())).collect();
        ClusterRecord { id: Uuid::from_u128(id), domain: domain.into(), max_connections: 2, backends }
    }

    fn snapshot(clusters: Vec<ClusterRecord>) -> Arc<Snapshot> {
        Arc::new(Snapshot { clusters })
    }

    const WIDE: Rate = Rate { per_second: 1_000_000, burst: 1_000_000 };

    #[tokio::test]
    async fn names_lead_to_their_own_server_and_to_nothing_else() {
        let routes = Routes::new(Arc::default());
        routes.apply(snapshot(vec![record(1, "a.x", &[("", "unix:/a"), ("main-0", "unix:/b")])])).await;
        let table = routes.table();
        let address = |name: &str| table.get(name).map(|r| r.backend.address.to_string());
        assert_eq!(address("a.x").as_deref(), Some("unix:/a"));
        assert_eq!(address("main-0.a.x").as_deref(), Some("unix:/b"));
        for unknown in ["", "x", "A.x", "a.x.", "main-1.a.x", ".a.x", "main-0.main-0.a.x", "a"] {
            assert_eq!(address(unknown), None, "{unknown}");
        }
    }

    #[tokio::test]
    async fn spus_of_one_cluster_stand_in_for_each_other_and_nobody_for_the_sc() {
        let routes = Routes::new(Arc::default());
        let servers =
            &[("", "unix:/sc"), ("main-0", "unix:/0"), ("main-1", "unix:/1"), ("main-2", "unix:/2")];
        let other = record(2, "b.x", &[("", "unix:/b"), ("main-0", "unix:/c")]);
        routes.apply(snapshot(vec![record(1, "a.x", servers), other])).await;
        let table = routes.table();
        let stand_ins = |name: &str| -> Vec<String> {
            table.get(name).unwrap().others.iter().map(|other| other.address.to_string()).collect()
        };
        assert_eq!(stand_ins("main-1.a.x"), ["unix:/0", "unix:/2"]);
        assert!(stand_ins("a.x").is_empty());
        assert!(stand_ins("main-0.b.x").is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_moved_counts_where_it_is() {
        let routes = Routes::new(Arc::default());
        routes.apply(snapshot(vec![record(1, "a.x", &[("main-0", "unix:/0"), ("main-1", "unix:/1")])])).await;
        let route = routes.table().get("main-0.a.x").unwrap().clone();
        let open = |backend: &Backend| backend.open.load(Ordering::Relaxed);
        let mut connection = route.admit(WIDE, Instant::now()).unwrap();
        connection.move_to(&route.others[0]);
        assert_eq!((open(&route.backend), open(&route.others[0])), (0, 1));
        drop(connection);
        assert_eq!((open(&route.backend), open(&route.others[0])), (0, 0));
        assert_eq!(route.cluster.usage.open.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_contested_name_routes_to_nobody_and_spares_the_rest() {
        let routes = Routes::new(Arc::default());
        routes
            .apply(snapshot(vec![
                record(1, "a.x", &[("main-0", "unix:/a")]),
                record(2, "main-0.a.x", &[("", "unix:/b"), ("main-0", "unix:/c")]),
            ]))
            .await;
        assert!(routes.table().get("main-0.a.x").is_none());
        assert!(routes.table().get("main-0.main-0.a.x").is_some());
    }

    #[tokio::test]
    async fn an_unusable_row_does_not_take_its_neighbours_along() {
        let routes = Routes::new(Arc::default());
        routes
            .apply(snapshot(vec![
                record(1, "a.x", &[("", "unix:/a"), ("main-0", "smoke:/b")]),
                record(2, "B.x", &[("", "unix:/c")]),
            ]))
            .await;
        assert!(routes.table().get("a.x").is_some());
        assert!(routes.table().get("main-0.a.x").is_none());
        assert!(routes.table().get("b.x").is_none() && routes.table().get("B.x").is_none());
    }

    #[tokio::test]
    async fn a_limit_counts_open_connections_over_all_servers_and_table_changes() {
        let routes = Routes::new(Arc::default());
        let servers = &[("", "unix:/a"), ("main-0", "unix:/b")];
        routes.apply(snapshot(vec![record(1, "a.x", servers)])).await;
        let route = |name: &str| routes.table().get(name).unwrap().clone();
        let now = Instant::now();
        let first = route("a.x").admit(WIDE, now).unwrap();
        let second = route("main-0.a.x").admit(WIDE, now).unwrap();
        assert_eq!(route("a.x").admit(WIDE, now).unwrap_err(), Refused::Connections);
        let wider = ClusterRecord { max_connections: 3, ..record(1, "a.x", servers) };
        assert_eq!(routes.apply(snapshot(vec![wider])).await, 0);
        let third = route("a.x").admit(WIDE, now).unwrap();
        assert_eq!(route("a.x").admit(WIDE, now).unwrap_err(), Refused::Connections);
        drop((first, second, third));
        assert_eq!(route("a.x").cluster.usage.open.load(Ordering::Relaxed), 0);
        assert_eq!(route("a.x").cluster.usage.refused.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_cut_server_is_empty_before_the_new_table_is_in_force() {
        let routes = Arc::new(Routes::new(Arc::default()));
        routes.apply(snapshot(vec![record(1, "a.x", &[("", "unix:/a")])])).await;
        let connection = routes.table().get("a.x").unwrap().admit(WIDE, Instant::now()).unwrap();
        let watched = routes.clone();
        let holder = tokio::spawn(async move {
            connection.route.backend.cut.cancelled().await;
            // Still the old table: the new one waits for this connection.
            let old = watched.table().get("a.x").map(|r| r.cluster.id);
            drop(connection);
            old
        });
        let reused = record(2, "a.x", &[("", "unix:/a")]);
        assert_eq!(routes.apply(snapshot(vec![reused])).await, 1);
        assert_eq!(holder.await.unwrap(), Some(Uuid::from_u128(1)));
        let now = routes.table().get("a.x").unwrap().clone();
        assert_eq!(now.cluster.id, Uuid::from_u128(2));
        assert!(!now.backend.cut.is_cancelled());
    }
}
