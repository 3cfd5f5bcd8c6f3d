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
    let standby =
        sqlx::query_scalar!(r#"SELECT pg_is_in_recovery() AS "standby!""#).fetch_one(&app.pool).await?;
    // One that has not taken over yet answers, and takes no change.
    if standby { Err(Problem::DATABASE_AWAY) } else { Ok("ok\n") }
}
