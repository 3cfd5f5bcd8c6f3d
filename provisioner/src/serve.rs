//! The program's life: start, listen, stop.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{Config, ProcessConfig, Runtime};
use crate::director::Director;
use crate::folder::{self, Durable};
use crate::keeper::Ground;
use crate::kubernetes;
use crate::users::Users;

/// What is wanted changed.
const CLUSTERS: &str = "clusters";
/// The signer answered.
const CERTIFICATES: &str = "certificates";
/// Pause before the next attempt to listen.
const RETRY: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(config.database()?);
    let (look, tick) = (Arc::new(Notify::new()), watch::Sender::new(0));
    let ear = tokio::spawn(listen(pool.clone(), Arc::clone(&look), tick.clone()));
    info!(host = config.host, region = config.region, "keeping clusters");
    let end = match config.runtime.clone() {
        Runtime::Process(process) => keep_processes(config, process, pool, look, &tick).await,
        Runtime::Kubernetes(kubernetes) => {
            let calls = kubernetes::Calls { pool, look, certificates: tick.subscribe() };
            kubernetes::keep(config, *kubernetes, calls, told_to_stop()?).await
        }
    };
    ear.abort();
    info!("stopped");
    end
}

/// Ends with SIGTERM or SIGINT.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn keep_processes(
    config: Config,
    process: ProcessConfig,
    pool: PgPool,
    look: Arc<Notify>,
    tick: &watch::Sender<u64>,
) -> anyhow::Result<()> {
    let stop = told_to_stop()?;
    // Held until the end: two provisioners with one bookkeeping would start everything twice.
    let _lock = lock(&process)?;
    let holder = holder(&process)?;
    let users = users(&process)?;
    let stop_clusters = process.stop_clusters_on_exit;
    let ground = Arc::new(Ground { config, process, pool, users, certificates: tick.subscribe() });
    let mut director = Director::new(ground, holder, look);
    tokio::select! {
        () = director.run() => {}
        () = stop => {}
    }
    director.stop(stop_clusters).await;
    Ok(())
}

fn lock(config: &ProcessConfig) -> anyhow::Result<File> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let state = &config.state_dir;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close {} to others", state.display()))?;
    let clusters = &config.clusters_dir;
    if !clusters.exists() {
        // Tenants' users and the gateway pass through it; what is in it is closed folder by folder.
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(clusters)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(state.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another provisioner works with {}; stop it first", state.display()))?;
    Ok(file)
}

/// The name under which this provisioner holds leases: the same after a restart, so that it need not wait
/// for its own leases to run out.
fn holder(config: &ProcessConfig) -> anyhow::Result<Uuid> {
    let file = config.state_dir.join("holder");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return Uuid::try_parse(text.trim()).with_context(|| format!("{} holds no id", file.display()));
    }
    let holder = Uuid::new_v4();
    folder::write(&file, holder.to_string().as_bytes(), Durable::Yes)?;
    Ok(holder)
}

fn users(config: &ProcessConfig) -> anyhow::Result<Option<Users>> {
    if !rustix::process::geteuid().is_root() {
        warn!(
            "not running as root: clusters run as this user and are not walled off from each other by user"
        );
        return Ok(None);
    }
    let users = Users::open(&config.state_dir, &config.clusters_dir, config.uid_base, config.uid_count);
    Ok(Some(users.context("cannot read the table of the clusters' users")?))
}

/// Turns notifications into wake-ups. A task of its own, because receiving cannot be broken off half-way.
async fn listen(pool: PgPool, look: Arc<Notify>, tick: watch::Sender<u64>) {
    loop {
        if let Err(error) = hear(&pool, &look, &tick).await {
            tracing::debug!(%error, "not hearing of changes; looking every few seconds instead");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear(pool: &PgPool, look: &Notify, tick: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([CLUSTERS, CERTIFICATES]).await?;
    look.notify_one();
    loop {
        match listener.try_recv().await? {
            Some(heard) if heard.channel() == CERTIFICATES => tick.send_modify(|count| *count += 1),
            Some(_) => look.notify_one(),
            // The connection was lost and made again: anything may have been said in between.
            None => {
                tick.send_modify(|count| *count += 1);
                look.notify_one();
            }
        }
    }
}
