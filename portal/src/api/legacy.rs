//! Upstream's own login contract, for published clients that know no other: an opaque token, then a profile with
//! a key made here.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::person::{self, Person};
use crate::accounts::sign_in;
use crate::api::sign_in::LoginRequest;
use crate::app::App;
use crate::certificates::profile::{self, ClusterConfig};
use crate::clusters::state::State as ClusterState;
use crate::db::clusters::{self, ClusterRow, Filter};
use crate::db::sessions::{self, Kind};
use crate::edge::address::ClientAddress;
use crate::edge::errors::ProblemBody;
use crate::edge::json::UntypedJsonBody;
use crate::edge::secret;
use crate::problem::Problem;

/// The name of the cluster that is an account's default while it lives.
const DEFAULT_CLUSTER: &str = "main";

/// A sign-in of an older client.
#[derive(Serialize, ToSchema)]
pub struct LegacyAnswer {
    /// The person.
    id: Uuid,
    /// Send it raw as `Authorization`.
    token: String,
}

/// Sign in as older clients do.
#[utoipa::path(post, path = "/loginUser", tag = "older clients", request_body = LoginRequest,
    responses((status = 200, body = LegacyAnswer),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn login_user(
    State(app): State<App>,
    address: ClientAddress,
    headers: HeaderMap,
    UntypedJsonBody(request): UntypedJsonBody<LoginRequest>,
) -> Result<Json<LegacyAnswer>, Problem> {
    let agent = person::agent(&headers);
    let proven =
        sign_in::sign_in(&app, Kind::Legacy, address, &agent, &request.email, &request.password).await?;
    let token = proven.secret.ok_or_else(|| Problem::internal(&"an older client's sign-in has a token"))?;
    Ok(Json(LegacyAnswer { id: proven.user_id, token }))
}

/// The default cluster's profile, with a key made for it. 204: not ready yet. 404: no cluster.
#[utoipa::path(get, path = "/downloadProfile", tag = "older clients",
    params(("Authorization" = String, Header, description = "The raw token of loginUser")),
    responses((status = 200, body = ClusterConfig), (status = 204),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn download_profile(
    State(app): State<App>,
    address: ClientAddress,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let person = caller(&app, address, &headers).await?;
    let rows = clusters::list(&app.pool, person.organisation_id, Filter::default(), 100).await?;
    let cluster = default_cluster(rows).ok_or(Problem::Missing("cluster"))?;
    if !matches!(cluster.state_now(), ClusterState::Running | ClusterState::Degraded) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(profile::make_legacy(&app, &person, &cluster).await?).into_response())
}

async fn caller(app: &App, address: ClientAddress, headers: &HeaderMap) -> Result<Person, Problem> {
    let unknown = Problem::SignIn("The token is unknown or its sign-in has ended.");
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.ok_or_else(|| unknown.clone())?;
    let row =
        sessions::person_by_secret(&app.pool, Kind::Legacy, &secret::hash(token)).await?.ok_or(unknown)?;
    sessions::touch(&app.pool, row.credential_id).await?;
    Ok(Person::new(row, "session", address))
}

/// The living cluster named main; without one, the oldest living.
fn default_cluster(rows: Vec<ClusterRow>) -> Option<ClusterRow> {
    let mut living: Vec<ClusterRow> = rows.into_iter().filter(|row| row.deleted_at.is_none()).collect();
    living.sort_by_key(|row| (row.name != DEFAULT_CLUSTER, row.created_at));
    living.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::state::tests::row;

    #[test]
    fn the_default_cluster_is_main_or_else_the_oldest_that_lives() {
        let named = |name: &str, age: i64, deleted: bool| {
            let mut row = row();
            row.name = name.into();
            row.created_at -= time::Duration::seconds(age);
            row.deleted_at = deleted.then_some(row.created_at);
            row
        };
        for (rows, expected) in [
            (vec![], None),
            (vec![named("a", 1, true)], None),
            (vec![named("a", 1, false), named("b", 2, false)], Some("b")),
            (vec![named("a", 9, false), named("main", 2, false)], Some("main")),
            (vec![named("a", 1, false), named("main", 2, true)], Some("a")),
        ] {
            assert_eq!(default_cluster(rows).map(|row| row.name).as_deref(), expected);
        }
    }
}
