//! Start and stop.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Gateway;
use super::accept::{accept_all, bind};
use crate::config::Config;
use crate::limits::raise_open_file_limit;
use crate::observe::serve_http;
use crate::routes::{Source, TableFile, follow};
use crate::usage::{UsageWriter, write_usage};

/// Listener, looks and usage at once, and one to spare.
const DATABASE_CONNECTIONS: u32 = 4;
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);
/// For connections to write what they have read.
const GRACE: Duration = Duration::from_millis(2_500);
/// For connections to notice that the grace is over.
const AFTER_GRACE: Duration = Duration::from_millis(300);
/// For the last usage rows.
const LAST_ROWS: Duration = Duration::from_secs(1);

/// Why the gateway did not start; each is the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no database URL. Its content is not shown: it may hold a password.
    #[error("{path} does not hold a database URL such as postgres:///cloud?host=/socket/folder&user=name")]
    DatabaseUrl {
        /// As configured.
        path: PathBuf,
    },
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Running {
    /// What its connections share.
    pub gateway: Arc<Gateway>,
    /// The bound public address.
    pub address: SocketAddr,
    /// The bound address of metrics and health.
    pub metrics_address: Option<SocketAddr>,
    closed: CancellationToken,
    usage: JoinHandle<()>,
}

impl Running {
    /// Binds, brings the first table in force, and serves. Addresses are published last, so that who finds
    /// one in its file is served.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let pool = open_pool(&config.database_url_file)?;
        let (listener, address) = listen(config.listen, bind(config.listen))?;
        let metrics = match config.metrics_listen {
            Some(wanted) => Some(listen(wanted, bind(wanted))?),
            None => None,
        };
        let gateway = Arc::new(Gateway::new(config, raise_open_file_limit()));
        start_following(&gateway, pool.clone()).await;
        let closed = CancellationToken::new();
        let config = &gateway.config;
        let waiting = gateway.counters.usage_rows_waiting.clone();
        let writer = UsageWriter::new(config.name.clone(), pool, gateway.book.clone(), waiting);
        let usage = tokio::spawn(write_usage(writer, gateway.stop.clone(), closed.clone()));
        tokio::spawn(accept_all(gateway.clone(), listener));
        let metrics_address = metrics.map(|(listener, address)| {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                if let Err(reason) = serve_http(gateway, listener).await {
                    error!(%reason, "metrics are not served any more");
                }
            });
            address
        });
        publish(config.address_file.as_deref(), Some(address))?;
        publish(config.metrics_address_file.as_deref(), metrics_address)?;
        info!(%address, ?metrics_address, sockets = gateway.sockets.bound(), "serving");
        Ok(Self { gateway, address, metrics_address, closed, usage })
    }

    /// Lets clients go in the order of a rolling update: first nobody is sent here any more, then nobody is let in,
    /// then those who are here may go on for a while. `hurry` ends the wait.
    pub async fn drain(&self, hurry: impl Future<Output = ()>) {
        let (gateway, config) = (&self.gateway, &self.gateway.config);
        gateway.draining.cancel();
        let drained = async {
            sleep(Duration::from_secs(config.unready_seconds)).await;
            gateway.shut.cancel();
            gateway.tasks.close();
            // Who is still here is told to end by the stop.
            let _ = timeout(Duration::from_secs(config.drain_seconds), gateway.tasks.wait()).await;
        };
        tokio::select! { () = drained => {}, () = hurry => {} }
    }

    /// Stops in order: nothing new, what was read is written, connections are closed, the last usage rows go
    /// out. Takes four seconds at most.
    pub async fn stop(self) {
        let gateway = &self.gateway;
        gateway.draining.cancel();
        gateway.shut.cancel();
        gateway.stop.cancel();
        gateway.tasks.close();
        if timeout(GRACE, gateway.tasks.wait()).await.is_err() {
            gateway.abort.cancel();
            // Who still hangs is ended by the process.
            let _ = timeout(AFTER_GRACE, gateway.tasks.wait()).await;
        }
        self.closed.cancel();
        if timeout(LAST_ROWS, self.usage).await.is_err() {
            error!("the last usage rows were not written");
        }
        info!("stopped");
    }
}

async fn start_following(gateway: &Gateway, pool: PgPool) {
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let file = TableFile::new(gateway.config.table_file.clone());
    let source = Source { pool, region: gateway.config.region.clone() };
    tokio::spawn(follow(gateway.routes.clone(), source, file, gateway.stop.clone(), move || {
        // Fails only if the start was given up.
        let _ = ready.send(());
    }));
    // Bounded by the follower's own patience.
    let _ = is_ready.await;
}

fn open_pool(file: &Path) -> Result<PgPool, StartError> {
    let text =
        std::fs::read_to_string(file).map_err(|source| StartError::File { path: file.to_owned(), source })?;
    let options = PgConnectOptions::from_str(text.trim())
        .map_err(|_| StartError::DatabaseUrl { path: file.to_owned() })?
        .application_name("gateway");
    Ok(PgPoolOptions::new()
        .max_connections(DATABASE_CONNECTIONS)
        .acquire_timeout(DATABASE_PATIENCE)
        .connect_lazy_with(options))
}

fn listen(
    wanted: SocketAddr,
    bound: io::Result<TcpListener>,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address: wanted, source };
    let listener = bound.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Writes a bound address for others to find; whole or not at all.
fn publish(file: Option<&Path>, address: Option<SocketAddr>) -> Result<(), StartError> {
    let (Some(file), Some(address)) = (file, address) else { return Ok(()) };
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, address.to_string())
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|source| StartError::File { path: file.to_owned(), source })
}
