//! Every route, on one screen.

use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::edge::{assets, errors, headers};
use crate::problem::Problem;
use crate::{api, pages};

/// Bytes of a request's body.
const MOST_BODY: usize = 64 * 1024;
/// A handler must be done by then: longer than the wait for the signer.
const PATIENCE: Duration = Duration::from_secs(25);

/// Everything that the portal answers.
pub fn all(app: App) -> Router {
    Router::new()
        .nest("/api/v1", programs(&app))
        .merge(people())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, PATIENCE))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), headers::outermost))
        .with_state(app)
}

/// Web pages.
fn people() -> Router<App> {
    Router::new()
        .route("/", get(pages::landing::show))
        .route("/signup", get(pages::sign_up::show).post(pages::sign_up::submit))
        .route("/verify", get(pages::verify::show).post(pages::verify::submit))
        .route("/login", get(pages::login::show).post(pages::login::submit))
        .route("/logout", post(pages::login::logout))
        .route("/outbox", get(pages::outbox::list))
        .route("/outbox/{id}", get(pages::outbox::read))
        .route("/clusters", get(pages::dashboard::show))
        .route("/clusters/events", get(pages::dashboard::watch))
        .route("/clusters/new", get(pages::new_cluster::show).post(pages::new_cluster::submit))
        .route("/clusters/{id}", get(pages::cluster::show))
        .route("/clusters/{id}/events", get(pages::cluster::watch))
        .route("/clusters/{id}/delete", get(pages::remove::show).post(pages::remove::submit))
        .route("/clusters/{id}/undelete", post(pages::remove::undelete))
        .route("/clusters/{id}/size", post(pages::size::submit))
        .route("/clusters/{id}/principals", post(pages::principal_limits::submit))
        .route("/clusters/{id}/pause", get(pages::size::show_pause).post(pages::size::pause))
        .route("/clusters/{id}/resume", post(pages::size::resume))
        .route("/clusters/{id}/profile", get(pages::rights::new_profile).post(pages::rights::download))
        .route("/clusters/{id}/rights/{certificate}", get(pages::rights::show).post(pages::rights::submit))
        .route("/clusters/{id}/certificates/{certificate}/revoke", post(pages::certificates::revoke))
        .route("/account", get(pages::account::show))
        .route("/account/password", post(pages::account::password))
        .route("/account/sessions/{id}/end", post(pages::account::end_session))
        .route("/account/tokens", post(pages::account::create_token))
        .route("/account/tokens/{id}/revoke", post(pages::account::revoke_token))
        .route("/fleet", get(pages::fleet::show))
        .route("/fleet/events", get(pages::fleet::watch))
        .route("/healthz", get(pages::health::live))
        .route("/readyz", get(pages::health::ready))
        // Only what holds no secret is compressed: a compressed page can leak what it says by its length.
        .route("/assets/{name}", get(assets::serve).layer(CompressionLayer::new()))
        .route("/favicon.ico", get(assets::favicon))
        .fallback(no_such_page)
        .layer(middleware::from_fn(errors::as_page))
}

/// The JSON API, with its own description.
fn programs(app: &App) -> Router<App> {
    let with_keys = OpenApiRouter::new()
        .routes(routes!(api::clusters::list, api::clusters::create))
        .routes(routes!(api::clusters::show, api::clusters::update, api::clusters::delete))
        .routes(routes!(api::clusters::undelete))
        .routes(routes!(api::clusters::pause))
        .routes(routes!(api::clusters::resume))
        .routes(routes!(api::regions::list))
        .routes(routes!(api::certificates::list, api::certificates::create))
        .routes(routes!(api::certificates::change, api::certificates::revoke))
        .routes(routes!(api::certificates::profile))
        .routes(routes!(api::tokens::list, api::tokens::create))
        .routes(routes!(api::tokens::revoke))
        .layer(middleware::from_fn_with_state(app.clone(), api::idempotency::layer));
    let (router, mut document) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(api::sign_in::login))
        .routes(routes!(api::sign_in::token))
        .routes(routes!(api::sign_in::logout))
        .routes(routes!(api::sign_in::me))
        .routes(routes!(api::legacy::login_user))
        .routes(routes!(api::legacy::download_profile))
        .merge(with_keys)
        .split_for_parts();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    router
        .route("/openapi.json", get(move || std::future::ready(Json(document.clone()))))
        .fallback(no_such_page)
        .layer(middleware::from_fn_with_state(app.clone(), api::limits::by_address))
        .layer(middleware::from_fn(errors::as_json))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Fluvio Cloud", description = "Clusters for data in motion: create, connect, delete."),
    servers((url = "/api/v1"))
)]
struct Description;

async fn no_such_page() -> Problem {
    Problem::Missing("page")
}

/// A panic is a fault of ours that ends one request, not the process.
fn panicked(cause: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!("a handler panicked: {text}");
    let shown = Problem::Internal.shown();
    let mut response = pages::error::render(&shown, "");
    *response.status_mut() = shown.status;
    response
}
