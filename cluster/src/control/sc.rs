//! The SC's control requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use cluster_settings::Settings;
use tokio::time::timeout;

use super::{health, metrics};
use crate::sc::state::State;
use crate::sc::{Sc, SettingsRefused};
use crate::usage::Usage;

/// Largest settings document: an access list of a hundred thousand principals fits.
const SETTINGS_BYTES_MAX: usize = 16 << 20;

/// How long SPUs have to put settings in force.
const SPUS_PATIENCE: Duration = Duration::from_secs(5);

struct Control {
    sc: Sc,
    usage: Arc<Usage>,
}

/// The routes.
pub fn routes(sc: Sc, usage: Arc<Usage>) -> Router {
    Router::new()
        .route("/v1/settings", put(put_settings))
        .route("/v1/health", get(get_health))
        .route("/metrics", get(get_metrics))
        .layer(DefaultBodyLimit::max(SETTINGS_BYTES_MAX))
        .with_state(Arc::new(Control { sc, usage }))
}

async fn put_settings(Shared(control): Shared<Arc<Control>>, body: Bytes) -> Response {
    let settings: Settings = match serde_json::from_slice(&body) {
        Ok(settings) => settings,
        // The message names fields and positions and repeats no values of ours but names: no key gets out.
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("not a settings document: {error}")),
    };
    let generation = settings.generation;
    match control.sc.put_settings(settings).await {
        Ok(()) => {}
        Err(error @ SettingsRefused::Older { .. }) => {
            return problem(StatusCode::CONFLICT, &error.to_string());
        }
        // Not a conflict: that means a newer generation, which a higher one gets around.
        Err(
            error @ (SettingsRefused::Elsewhere
            | SettingsRefused::Invalid(_)
            | SettingsRefused::StillHolds(_)),
        ) => {
            return problem(StatusCode::BAD_REQUEST, &error.to_string());
        }
        Err(error @ (SettingsRefused::Store(_) | SettingsRefused::Stopping | SettingsRefused::NotYet)) => {
            tracing::error!(%error, "settings were not taken");
            return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
        }
    }
    let mut state = control.sc.state();
    let everywhere = state.wait_for(|state| spus_behind(state, generation).is_empty());
    if timeout(SPUS_PATIENCE, everywhere).await.is_ok() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let behind = spus_behind(&control.sc.state().borrow(), generation).join(", ");
    let message = format!("kept and in force on the SC, but not confirmed by {behind}: push them again");
    problem(StatusCode::SERVICE_UNAVAILABLE, &message)
}

/// Registered SPUs on which settings of this generation are not in force yet.
fn spus_behind(state: &State, generation: u64) -> Vec<String> {
    let behind = |id: &i32| state.settings_applied.get(id).is_none_or(|applied| *applied < generation);
    let spus = state.spus.iter().filter(|(_, spu)| spu.online && behind(&spu.id));
    spus.map(|(name, _)| name.clone()).collect()
}

async fn get_health(Shared(control): Shared<Arc<Control>>) -> Response {
    let health = health::of_cluster(&control.sc.state().borrow());
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

async fn get_metrics(Shared(control): Shared<Arc<Control>>) -> Response {
    let state = control.sc.state().borrow().clone();
    let mut text = metrics::of_process(&control.usage);
    text.push_str(&metrics::of_cluster(&state));
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

fn problem(status: StatusCode, error: &str) -> Response {
    (status, Json(serde_json::json!({ "error": error }))).into_response()
}
