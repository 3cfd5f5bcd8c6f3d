//! Sign-in of programs: a short access token and a rotating refresh token.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::access_token::LIFETIME_SECONDS;
use crate::accounts::person::{self, ApiCaller, ApiPerson};
use crate::accounts::refresh::{self, Pair};
use crate::accounts::sign_in;
use crate::app::App;
use crate::db::sessions::Kind;
use crate::edge::address::ClientAddress;
use crate::edge::errors::ProblemBody;
use crate::edge::json::JsonBody;
use crate::problem::Problem;

/// Email and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The account's address.
    pub email: String,
    /// Its password.
    pub password: String,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    refresh_token: String,
}

/// A sign-in.
#[derive(Serialize, ToSchema)]
pub struct LoginAnswer {
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: u64,
    /// Good for one more pair. Using it twice ends the sign-in.
    refresh_token: String,
    /// Who signed in.
    user: UserName,
    /// For which organisation.
    organisation: OrganisationName,
}

#[derive(Serialize, ToSchema)]
struct UserName {
    id: Uuid,
    email: String,
}

#[derive(Serialize, ToSchema)]
struct OrganisationName {
    id: Uuid,
    name: String,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub struct Me {
    user: MyUser,
    organisation: MyOrganisation,
}

#[derive(Serialize, ToSchema)]
struct MyUser {
    id: Uuid,
    email: String,
    operator: bool,
}

#[derive(Serialize, ToSchema)]
struct MyOrganisation {
    id: Uuid,
    name: String,
    role: String,
    max_clusters: i32,
}

fn answer(pair: Pair) -> Json<LoginAnswer> {
    Json(LoginAnswer {
        access_token: pair.access,
        token_type: "Bearer",
        expires_in: LIFETIME_SECONDS,
        refresh_token: pair.refresh,
        user: UserName { id: pair.person.user_id, email: pair.person.email },
        organisation: OrganisationName {
            id: pair.person.organisation_id,
            name: pair.person.organisation_name,
        },
    })
}

/// Sign in with email and password.
#[utoipa::path(post, path = "/login", tag = "sign-in", request_body = LoginRequest,
    responses((status = 200, body = LoginAnswer),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn login(
    State(app): State<App>,
    address: ClientAddress,
    headers: HeaderMap,
    JsonBody(request): JsonBody<LoginRequest>,
) -> Result<Json<LoginAnswer>, Problem> {
    let agent = person::agent(&headers);
    let proven =
        sign_in::sign_in(&app, Kind::Cli, address, &agent, &request.email, &request.password).await?;
    Ok(answer(refresh::first(&app, proven.session_id).await?))
}

/// Exchange a refresh token for the next pair.
#[utoipa::path(post, path = "/token", tag = "sign-in", request_body = RefreshRequest,
    responses((status = 200, body = LoginAnswer),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn token(
    State(app): State<App>,
    address: ClientAddress,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Result<Json<LoginAnswer>, Problem> {
    Ok(answer(refresh::rotate(&app, address, &request.refresh_token).await?))
}

/// End the sign-in.
#[utoipa::path(post, path = "/logout", tag = "sign-in", request_body = RefreshRequest,
    security(("bearer" = [])),
    responses((status = 204),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn logout(
    State(app): State<App>,
    caller: ApiPerson,
    JsonBody(request): JsonBody<RefreshRequest>,
) -> Result<StatusCode, Problem> {
    let person = &caller.person;
    refresh::end(&app, &person.actor, person.user_id, caller.session_id, &request.refresh_token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks.
#[utoipa::path(get, path = "/me", tag = "sign-in", security(("bearer" = [])),
    responses((status = 200, body = Me),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn me(caller: ApiCaller) -> Json<Me> {
    let person = caller.person;
    Json(Me {
        user: MyUser { id: person.user_id, email: person.email, operator: person.operator },
        organisation: MyOrganisation {
            id: person.organisation_id,
            name: person.organisation_name,
            role: person.role,
            max_clusters: person.max_clusters,
        },
    })
}
