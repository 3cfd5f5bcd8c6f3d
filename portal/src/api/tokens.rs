//! API tokens. Only a person makes and ends them, never another token.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::api_token::{self, DEFAULT_DAYS, Wanted};
use crate::accounts::person::ApiPerson;
use crate::api::idempotency::HoldsSecret;
use crate::api::time;
use crate::app::App;
use crate::db::tokens;
use crate::edge::errors::ProblemBody;
use crate::edge::json::JsonBody;
use crate::edge::once::Once;
use crate::problem::Problem;

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What will use it.
    name: String,
    /// 1 to 366; 90 when nothing is said.
    expires_in_days: Option<i32>,
    /// read, write or both; write when nothing is said.
    scopes: Option<Vec<String>>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub struct MadeToken {
    id: Uuid,
    /// Shown once.
    token: String,
    expires_at: String,
}

/// A token without its secret.
#[derive(Serialize, ToSchema)]
pub struct Token {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: String,
    last_used_at: Option<String>,
}

/// The caller's living tokens, newest first.
#[derive(Serialize, ToSchema)]
pub struct TokenList {
    items: Vec<Token>,
}

/// List one's own API tokens.
#[utoipa::path(get, path = "/tokens", tag = "tokens", security(("bearer" = [])),
    responses((status = 200, body = TokenList),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, caller: ApiPerson) -> Result<Json<TokenList>, Problem> {
    let found = tokens::list(&app.pool, caller.person.organisation_id, caller.person.user_id).await?;
    let item = |row: tokens::TokenRow| Token {
        id: row.id,
        name: row.name,
        scopes: row.scopes,
        created_at: time(row.created_at),
        expires_at: time(row.expires_at),
        last_used_at: row.last_used_at.map(time),
    };
    Ok(Json(TokenList { items: found.into_iter().map(item).collect() }))
}

/// Make an API token.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken, security(("bearer" = [])),
    responses((status = 201, body = MadeToken),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    caller: ApiPerson,
    once: Once,
    JsonBody(new): JsonBody<NewToken>,
) -> Result<Response, Problem> {
    let wanted = Wanted {
        name: &new.name,
        days: new.expires_in_days.unwrap_or(DEFAULT_DAYS),
        scopes: new.scopes.unwrap_or_else(|| vec!["write".into()]),
    };
    let person = &caller.person;
    let (organisation_id, user_id) = (person.organisation_id, person.user_id);
    let (row, token) =
        api_token::create(&app.pool, organisation_id, user_id, &person.actor, wanted, &once).await?;
    let made = MadeToken { id: row.id, token, expires_at: time(row.expires_at) };
    let mut response = (StatusCode::CREATED, Json(made)).into_response();
    response.extensions_mut().insert(HoldsSecret);
    Ok(response)
}

/// Revoke an API token.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "tokens", security(("bearer" = [])),
    params(("token" = Uuid, Path)),
    responses((status = 204),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn revoke(
    State(app): State<App>,
    caller: ApiPerson,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let person = &caller.person;
    api_token::revoke(&app.pool, person.organisation_id, person.user_id, &person.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
