//! `/healthz`: 200 when a person could use the portal.

use axum::extract::State;

use crate::app::App;
use crate::problem::Problem;

/// `GET /healthz`.
pub async fn show(State(app): State<App>) -> Result<&'static str, Problem> {
    sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&app.pool).await?;
    Ok("ok\n")
}
