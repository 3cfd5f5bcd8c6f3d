//! The control socket: HTTP over a Unix socket that only root and the process's own user can use.
//!
//! The SC takes its settings here and says how the cluster is; an SPU that runs by itself only says how it is.

mod health;
mod metrics;
mod sc;
mod spu;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

pub use sc::routes as sc_routes;
pub use spu::routes as spu_routes;

/// How long a socket that does not accept is left alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A private socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}: {reason}")]
pub struct BindError {
    path: PathBuf,
    reason: std::io::Error,
}

/// Binds a socket for this process's user alone. One that a former process left is replaced.
pub fn bind_private(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |reason| BindError { path: path.into(), reason };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Before this the process's umask, and always the check of each peer, keep strangers out.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Whether whoever is at the other end is root or runs as the same user as this process.
pub fn peer_is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| trusted(peer.uid(), own))
}

fn trusted(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

/// Serves until `stop`.
pub async fn serve(listener: UnixListener, routes: Router, stop: CancellationToken) {
    let served = axum::serve(Trusted(listener), routes)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the control socket ended");
    }
}

/// Accepts trusted peers only.
struct Trusted(UnixListener);

impl axum::serve::Listener for Trusted {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) if peer_is_trusted(&stream) => return (stream, address),
                Ok(_) => tracing::warn!("a stranger at the control socket was sent away"),
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

#[cfg(test)]
mod tests;
