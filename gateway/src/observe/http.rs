//! The operator's port.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::text::render;
use crate::server::Gateway;

/// Serves `/metrics`, `/livez` and `/readyz` until the gateway stops; `/healthz` is the older name of the latter.
pub async fn serve_http(gateway: Arc<Gateway>, listener: TcpListener) -> io::Result<()> {
    let stop = gateway.stop.clone();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .with_state(gateway);
    // No waiting for scrapers: they come again.
    tokio::select! {
        outcome = axum::serve(listener, router).into_future() => outcome,
        () = stop.cancelled() => Ok(()),
    }
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, render(&gateway, Instant::now()))
}

/// The process answers: to start it again would help nobody.
async fn live() -> &'static str {
    "ok\n"
}

/// Ready means: there is a table, from the database or from disk, and new clients are served by it.
async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    if gateway.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if gateway.routes.snapshot().is_none() {
        (StatusCode::SERVICE_UNAVAILABLE, "no table yet: the database is away and none is kept on disk\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}
