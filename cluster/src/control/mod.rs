//! The control socket: HTTP over an internal socket, for whoever runs the cluster.
//!
//! The SC takes its settings here and says how the cluster is; an SPU that runs by itself only says how it is.
//! What a Kubernetes node and a scraper may ask without being known has a socket of its own: [`Probe`].

mod health;
mod metrics;
mod probe;
mod sc;
mod spu;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::internal::Listener;

pub use probe::{Facts, Probe};
pub use sc::routes as sc_routes;
pub use spu::routes as spu_routes;

/// Serves until `stop`.
pub async fn serve(listener: Listener, routes: Router, stop: CancellationToken) {
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(async move { stop.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "the control socket ended");
    }
}

#[cfg(test)]
mod tests;
