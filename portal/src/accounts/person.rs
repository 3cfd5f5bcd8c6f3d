//! Who asks. These extractors are the access rules: a handler that takes a [`SignedIn`] runs for nobody else.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use uuid::Uuid;

use crate::accounts::api_token;
use crate::app::App;
use crate::db::audit::Actor;
use crate::db::sessions::{self, Kind, PersonRow};
use crate::db::tokens;
use crate::edge::address::ClientAddress;
use crate::edge::cookies::Cookie;
use crate::edge::{form, secret};
use crate::problem::Problem;

/// A person with the organisation that he or she works for.
#[derive(Debug, Clone)]
pub struct Person {
    /// The person.
    pub user_id: Uuid,
    /// The person's address.
    pub email: String,
    /// Runs the cloud.
    pub operator: bool,
    /// The organisation.
    pub organisation_id: Uuid,
    /// Its name.
    pub organisation_name: String,
    /// The person's role in it.
    pub role: String,
    /// Its limit.
    pub max_clusters: i32,
    /// What the audit log says about who did it.
    pub actor: Actor,
}

/// Somebody in a browser with a living sign-in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub person: Person,
    /// The sign-in.
    pub session_id: Uuid,
    /// For the forms of the pages that this person gets.
    pub form_token: String,
    /// SHA-256 of the cookie, to ask again whether the sign-in lives.
    pub secret_hash: [u8; 32],
}

/// Somebody in a browser who runs the cloud. For everybody else the page does not exist.
pub struct Operator(pub SignedIn);

/// A program with an access token or an API token.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    /// For whom.
    pub person: Person,
    /// The sign-in; an API token has none.
    pub session_id: Option<Uuid>,
}

/// A program with an access token: what only a person may do, such as making API tokens.
pub struct ApiPerson {
    /// Who.
    pub person: Person,
    /// The sign-in.
    pub session_id: Uuid,
}

impl Person {
    /// The person behind a credential of a kind.
    pub fn new(row: PersonRow, credential: &str, address: ClientAddress) -> Self {
        let actor = Actor {
            organisation_id: Some(row.organisation_id),
            user_id: Some(row.user_id),
            credential: format!("{credential}:{}", row.credential_id),
            address: address.to_string(),
        };
        Person {
            user_id: row.user_id,
            email: row.email,
            operator: row.operator,
            organisation_id: row.organisation_id,
            organisation_name: row.organisation_name,
            role: row.role,
            max_clusters: row.max_clusters,
            actor,
        }
    }
}

/// The client's program, as it calls itself: printable and bounded.
pub fn agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

async fn signed_in(parts: &mut Parts, app: &App) -> Result<Option<SignedIn>, Problem> {
    if let Some(known) = parts.extensions.get::<SignedIn>() {
        return Ok(Some(known.clone()));
    }
    let Some(cookie) = Cookie::Session.read(&parts.headers, app.config.secure()) else { return Ok(None) };
    let secret_hash = secret::hash(&cookie);
    let Some(row) = sessions::person_by_secret(&app.pool, Kind::Browser, &secret_hash).await? else {
        return Ok(None);
    };
    let session_id = row.credential_id;
    sessions::touch(&app.pool, session_id).await?;
    let address = ClientAddress::from_request_parts(parts, app).await?;
    let person = Person::new(row, "session", address);
    let signed_in = SignedIn { person, session_id, form_token: form::token(&cookie), secret_hash };
    parts.extensions.insert(signed_in.clone());
    Ok(Some(signed_in))
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        signed_in(parts, app).await?.ok_or(Problem::SignIn("This page belongs to an account."))
    }
}

impl OptionalFromRequestParts<App> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Problem> {
        signed_in(parts, app).await
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let signed_in = <SignedIn as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        if signed_in.person.operator { Ok(Operator(signed_in)) } else { Err(Problem::Missing("page")) }
    }
}

/// The token after `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// What a token's scopes allow: looking needs `read`, all else `write`.
fn allows(scopes: &[String], method: &Method) -> bool {
    let needed = if *method == Method::GET || *method == Method::HEAD { "read" } else { "write" };
    scopes.iter().any(|scope| scope == needed || scope == "write")
}

impl FromRequestParts<App> for ApiCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<ApiCaller>() {
            return Ok(known.clone());
        }
        let address = ClientAddress::from_request_parts(parts, app).await?;
        let token = bearer(&parts.headers).ok_or(Problem::SignIn("The request carries no bearer token."))?;
        let caller = if token.starts_with(api_token::PREFIX) {
            by_api_token(app, token, address, &parts.method).await?
        } else {
            by_access_token(app, token, address).await?
        };
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

async fn by_api_token(
    app: &App,
    token: &str,
    address: ClientAddress,
    method: &Method,
) -> Result<ApiCaller, Problem> {
    let unknown = Problem::SignIn("The API token is unknown, revoked or over.");
    if !api_token::is_well_formed(token) {
        return Err(unknown);
    }
    let holder = tokens::holder(&app.pool, &secret::hash(token)).await?.ok_or(unknown)?;
    if !allows(&holder.scopes, method) {
        return Err(Problem::refused(
            "This API token may look but not change.",
            "Make a token with the scope write on the account page.",
        ));
    }
    Ok(ApiCaller { person: Person::new(holder.person, "token", address), session_id: None })
}

async fn by_access_token(app: &App, token: &str, address: ClientAddress) -> Result<ApiCaller, Problem> {
    let session_id = app
        .signer
        .check(token)
        .map_err(|_| Problem::SignIn("The access token is not valid here or is over."))?;
    let row = sessions::person_by_id(&app.pool, session_id)
        .await?
        .ok_or(Problem::SignIn("The sign-in of this access token has ended."))?;
    sessions::touch(&app.pool, session_id).await?;
    Ok(ApiCaller { person: Person::new(row, "session", address), session_id: Some(session_id) })
}

impl FromRequestParts<App> for ApiPerson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = ApiCaller::from_request_parts(parts, app).await?;
        let session_id = caller.session_id.ok_or_else(|| {
            Problem::refused(
                "An API token cannot do this.",
                "Sign in with `fluvio cloud login` and try again.",
            )
        })?;
        Ok(ApiPerson { person: caller.person, session_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_read() {
        for (value, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers), expected, "{value}");
        }
    }

    #[test]
    fn a_token_that_may_look_may_not_change() {
        let scopes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (names, method, expected) in [
            (&["read"][..], Method::GET, true),
            (&["read"], Method::POST, false),
            (&["read"], Method::DELETE, false),
            (&["write"], Method::DELETE, true),
            (&["write"], Method::GET, true),
            (&[], Method::GET, false),
        ] {
            assert_eq!(allows(&scopes(names), &method), expected, "{names:?} {method}");
        }
    }
}
