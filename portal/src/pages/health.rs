//! `/healthz` and `/readyz`, for whoever starts and stops portals.

use axum::extract::State;

use crate::app::App;
use crate::problem::Problem;

/// `GET /healthz`: the portal lives. A database that is away is no reason to start it again.
pub async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: a person could use the portal now.
pub async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::STOPPING);
    }
    sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&app.pool).await?;
    Ok("ok\n")
}
