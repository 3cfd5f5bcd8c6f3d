//! Keeps the table as the database has it.
//!
//! A notification says only "look again"; the timer looks too, the same way. One query brings everything, so
//! a table is never half old. While the database is away the table in force stays, and the file on disk
//! carries it over a restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{ClusterRecord, Routes, Snapshot, TableFile, TableFileError};

/// The timer that heals what a notification missed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Notifications within this time of a look are answered by one look.
const COALESCE: Duration = Duration::from_millis(20);
/// A database that takes longer to answer is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// At start the file takes over sooner, because clients wait.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// Between two lines in the log that say that the database is away.
const REMIND: Duration = Duration::from_secs(5);
/// Between attempts while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// Why a look brought nothing; in each case the table in force stays and the next look is soon.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the database did not answer in time")]
    Late,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Where routes come from.
#[derive(Debug)]
pub struct Source {
    /// The database.
    pub pool: PgPool,
    /// Only clusters of this region; `None` for all.
    pub region: Option<String>,
}

/// Follows the database until `stop`. `ready` is called once, when the first table is in force or it is known
/// that there is none.
pub async fn follow(
    routes: Arc<Routes>,
    source: Source,
    file: TableFile,
    stop: CancellationToken,
    ready: impl FnOnce(),
) {
    let mut follower = Follower { routes, source, file, kept: None };
    follower.start().await;
    ready();
    let mut away = Away::default();
    while !stop.is_cancelled() {
        let outcome = tokio::select! {
            outcome = follower.listen(&mut away) => outcome,
            () = stop.cancelled() => return,
        };
        if let Err(reason) = outcome {
            away.note(&reason, Instant::now());
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// For how long the database has been away, as far as the log is concerned.
#[derive(Default)]
struct Away {
    since: Option<Instant>,
    reminded: Option<Instant>,
}

impl Away {
    fn note(&mut self, reason: &LookError, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if self.reminded.is_none_or(|at| now.duration_since(at) >= REMIND) {
            self.reminded = Some(now);
            let seconds = now.duration_since(since).as_secs();
            warn!(%reason, seconds, "the database is away; the last table stays in force");
        }
    }

    fn over(&mut self, now: Instant) {
        self.reminded = None;
        if let Some(since) = self.since.take() {
            info!(seconds = now.duration_since(since).as_secs(), "the database is back");
        }
    }
}

struct Follower {
    routes: Arc<Routes>,
    source: Source,
    file: TableFile,
    /// What the file holds, as far as known.
    kept: Option<Arc<Snapshot>>,
}

impl Follower {
    /// The first table: from the database if it answers, else from the file.
    async fn start(&mut self) {
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        match read {
            Ok(Ok(snapshot)) => self.kept = Some(Arc::new(snapshot)),
            Ok(Err(TableFileError::Absent)) => info!("no table is kept on disk yet"),
            Ok(Err(reason)) => {
                error!(%reason, path = %self.file.path().display(), "the kept table is not usable")
            }
            Err(reason) => error!(%reason, "reading the kept table failed"),
        }
        match self.look(START_PATIENCE).await {
            Ok(()) => {}
            Err(reason) => match self.kept.clone() {
                Some(snapshot) => {
                    info!(clusters = snapshot.clusters.len(), %reason, "serving from the kept table");
                    self.routes.apply(snapshot).await;
                }
                None => warn!(%reason, "no table: everyone is refused until the database answers"),
            },
        }
    }

    /// Looks on every notification and on the timer, until the database fails.
    async fn listen(&mut self, away: &mut Away) -> Result<(), LookError> {
        let mut listener = timeout(PATIENCE, async {
            let mut listener = PgListener::connect_with(&self.source.pool).await?;
            // A lost connection must lead to a look of our own, not to a silent new one.
            listener.eager_reconnect(false);
            listener.listen_all(["clusters", "cluster_backends"]).await?;
            Ok::<_, sqlx::Error>(listener)
        })
        .await
        .map_err(|_| LookError::Late)??;
        let mut timer = interval(LOOK_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = timer.tick() => {}
                note = listener.try_recv() => {
                    if note?.is_none() {
                        return Err(LookError::Database(sqlx::Error::WorkerCrashed));
                    }
                    sleep(COALESCE).await;
                }
            }
            while listener.next_buffered().is_some() {}
            self.look(PATIENCE).await?;
            away.over(Instant::now());
        }
    }

    /// Loads, compares, puts in force, keeps.
    async fn look(&mut self, patience: Duration) -> Result<(), LookError> {
        let snapshot = timeout(patience, load(&self.source)).await.map_err(|_| LookError::Late)??;
        let snapshot = Arc::new(snapshot);
        if self.routes.snapshot().as_deref() != Some(&*snapshot) {
            let cut = self.routes.apply(snapshot.clone()).await;
            info!(clusters = snapshot.clusters.len(), cut, "a new table is in force");
        }
        self.routes.confirm(Instant::now());
        if self.kept.as_deref() != Some(&*snapshot) {
            self.keep(snapshot).await;
        }
        Ok(())
    }

    /// A disk that does not take the table costs only the next start without a database.
    async fn keep(&mut self, snapshot: Arc<Snapshot>) {
        let (file, written) = (self.file.clone(), snapshot.clone());
        match tokio::task::spawn_blocking(move || file.write(&written)).await {
            Ok(Ok(())) => self.kept = Some(snapshot),
            Ok(Err(reason)) => {
                error!(%reason, path = %self.file.path().display(), "the table could not be kept on disk");
            }
            Err(reason) => error!(%reason, "keeping the table failed"),
        }
    }
}

/// Everything in one query, ordered as a snapshot is. A cluster that rests has no routes, as a deleted one.
async fn load(source: &Source) -> Result<Snapshot, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT c.id, c.domain, c.max_connections, b.server_name, b.address
         FROM clusters c JOIN cluster_backends b ON b.cluster_id = c.id
         WHERE c.deleted_at IS NULL AND c.paused_at IS NULL AND ($1::text IS NULL OR c.region = $1)
         ORDER BY c.id",
        source.region
    )
    .fetch_all(&source.pool)
    .await?;
    let mut snapshot = Snapshot::default();
    for row in rows {
        if snapshot.clusters.last().is_none_or(|last| last.id != row.id) {
            snapshot.clusters.push(ClusterRecord {
                id: row.id,
                domain: row.domain,
                max_connections: u32::try_from(row.max_connections).unwrap_or(0),
                backends: Default::default(),
            });
        }
        if let Some(cluster) = snapshot.clusters.last_mut() {
            cluster.backends.insert(row.server_name, row.address);
        }
    }
    Ok(snapshot)
}
