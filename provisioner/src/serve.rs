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

use crate::config::Config;
use crate::director::Director;
use crate::folder::{self, Durable};
use crate::keeper::Ground;
use crate::users::Users;

/// What is wanted changed.
const CLUSTERS: &str = "clusters";
/// The signer answered.
const CERTIFICATES: &str = "certificates";
/// Pause before the next attempt to listen.
const RETRY: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Held until the end: two provisioners with one bookkeeping would start everything twice.
    let _lock = lock(&config)?;
    let holder = holder(&config)?;
    let users = users(&config)?;
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(config.database()?);
    let look = Arc::new(Notify::new());
    let (tick, certificates) = watch::channel(0);
    let ear = tokio::spawn(listen(pool.clone(), Arc::clone(&look), tick));
    let stop_clusters = config.stop_clusters_on_exit;
    info!(host = config.host, region = config.region, "keeping clusters");
    let ground = Arc::new(Ground { config, pool, users, certificates });
    let mut director = Director::new(ground, holder, look);
    tokio::select! {
        () = director.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    ear.abort();
    director.stop(stop_clusters).await;
    info!("stopped");
    Ok(())
}

fn lock(config: &Config) -> anyhow::Result<File> {
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
fn holder(config: &Config) -> anyhow::Result<Uuid> {
    let file = config.state_dir.join("holder");
    if let Ok(text) = std::fs::read_to_string(&file) {
        return Uuid::try_parse(text.trim()).with_context(|| format!("{} holds no id", file.display()));
    }
    let holder = Uuid::new_v4();
    folder::write(&file, holder.to_string().as_bytes(), Durable::Yes)?;
    Ok(holder)
}

fn users(config: &Config) -> anyhow::Result<Option<Users>> {
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
