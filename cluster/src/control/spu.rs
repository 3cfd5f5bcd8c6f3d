//! The control requests of an SPU that runs by itself.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::{health, metrics};
use crate::link::SpuLink;
use crate::usage::Usage;

struct Control {
    link: SpuLink,
    usage: Arc<Usage>,
}

/// The routes.
pub fn routes(link: SpuLink, usage: Arc<Usage>) -> Router {
    Router::new()
        .route("/v1/health", get(get_health))
        .route("/metrics", get(get_metrics))
        .with_state(Arc::new(Control { link, usage }))
}

async fn get_health(Shared(control): Shared<Arc<Control>>) -> Response {
    let health = health::of_spu(&control.link, &control.usage);
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

async fn get_metrics(Shared(control): Shared<Arc<Control>>) -> Response {
    let text = metrics::of_process(&control.usage);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}
