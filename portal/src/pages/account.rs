//! `/account`: password, sign-ins, API tokens.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::api_token::{self, DEFAULT_DAYS, Wanted};
use crate::accounts::person::{Person, SignedIn};
use crate::accounts::sign_in;
use crate::app::App;
use crate::db::sessions::{self, SessionRow};
use crate::db::tokens::{self, TokenRow};
use crate::edge::form::ProtectedForm;
use crate::edge::once::Once;
use crate::pages::frame::{Frame, Here};
use crate::pages::login::NoFields;
use crate::pages::view::Fault;
use crate::problem::Problem;
use crate::show::When;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    csrf: String,
    person: Person,
    sessions: Vec<SessionView>,
    tokens: Vec<TokenView>,
    /// A token that was just made: shown now and never again.
    new_token: Option<String>,
    notice: &'static str,
    fault: Fault,
}

struct SessionView {
    row: SessionRow,
    began: When,
    seen: When,
    this: bool,
}

struct TokenView {
    row: TokenRow,
    made: When,
    ends: When,
    used: Option<When>,
}

impl SessionView {
    fn kind(&self) -> &'static str {
        match self.row.kind.as_str() {
            "browser" => "Browser",
            "cli" => "Command line",
            _ => "Older client",
        }
    }

    fn agent(&self) -> String {
        program(&self.row.agent)
    }
}

/// What people call the program behind a `User-Agent`: browser and system, or a tool by its name. A guess for
/// the eye; nothing is decided by it.
fn program(agent: &str) -> String {
    let first = |names: &[(&str, &'static str)]| {
        names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // The order matters: each browser also names the ones that it wants to be taken for.
    let browser = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => agent.split(' ').next().unwrap_or_default().chars().take(60).collect(),
    }
}

/// What was done before the page was shown again.
#[derive(Deserialize)]
pub struct Done {
    #[serde(default)]
    done: String,
}

impl Done {
    fn words(&self) -> &'static str {
        match self.done.as_str() {
            "password" => "The password is changed. Every other sign-in has ended.",
            "session" => "The sign-in has ended.",
            "token" => "The token is revoked.",
            _ => "",
        }
    }
}

/// The form for a new password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordFields {
    current: String,
    password: String,
}

/// The form for a new token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFields {
    name: String,
    #[serde(default)]
    scope: String,
}

async fn page(app: &App, signed_in: &SignedIn) -> Result<AccountPage, Problem> {
    let person = signed_in.person.clone();
    let now = OffsetDateTime::now_utc();
    let session = |row: SessionRow| SessionView {
        began: When::new(row.created_at, now),
        seen: When::new(row.last_seen_at, now),
        this: row.id == signed_in.session_id,
        row,
    };
    let token = |row: TokenRow| TokenView {
        made: When::new(row.created_at, now),
        ends: When::new(row.expires_at, now),
        used: row.last_used_at.map(|at| When::new(at, now)),
        row,
    };
    let sessions = sessions::list(&app.pool, person.user_id).await?;
    let tokens = tokens::list(&app.pool, person.organisation_id, person.user_id).await?;
    Ok(AccountPage {
        frame: Frame::signed_in(app, signed_in, Here::Account),
        csrf: signed_in.form_token.clone(),
        sessions: sessions.into_iter().map(session).collect(),
        tokens: tokens.into_iter().map(token).collect(),
        new_token: None,
        notice: "",
        fault: Fault::none(),
        person,
    })
}

async fn with_fault(app: &App, signed_in: &SignedIn, problem: &Problem) -> Result<Response, Problem> {
    let shown = AccountPage { fault: Fault::of(problem), ..page(app, signed_in).await? };
    super::refused(&shown, problem)
}

/// `GET /account`.
pub async fn show(
    State(app): State<App>,
    Query(done): Query<Done>,
    signed_in: SignedIn,
) -> Result<Response, Problem> {
    super::page(&AccountPage { notice: done.words(), ..page(&app, &signed_in).await? })
}

/// `POST /account/password`.
pub async fn password(
    State(app): State<App>,
    signed_in: SignedIn,
    ProtectedForm(fields): ProtectedForm<PasswordFields>,
) -> Result<Response, Problem> {
    let (person, session) = (&signed_in.person, signed_in.session_id);
    match sign_in::change_password(&app, person, session, &fields.current, &fields.password).await {
        Ok(()) => Ok(Redirect::to("/account?done=password").into_response()),
        Err(problem @ Problem::Invalid { .. }) => with_fault(&app, &signed_in, &problem).await,
        Err(problem) => Err(problem),
    }
}

/// `POST /account/sessions/{id}/end`.
pub async fn end_session(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<Uuid>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    let person = &signed_in.person;
    if !sign_in::sign_out(&app, &person.actor, person.user_id, id).await? {
        return Err(Problem::Missing("sign-in"));
    }
    Ok(Redirect::to("/account?done=session").into_response())
}

/// `POST /account/tokens`.
pub async fn create_token(
    State(app): State<App>,
    signed_in: SignedIn,
    ProtectedForm(fields): ProtectedForm<TokenFields>,
) -> Result<Response, Problem> {
    let person = &signed_in.person;
    let scope = if fields.scope == "read" { "read" } else { "write" };
    let wanted = Wanted { name: &fields.name, days: DEFAULT_DAYS, scopes: vec![scope.into()] };
    let (organisation_id, user_id) = (person.organisation_id, person.user_id);
    let once = Once::Unkeyed;
    match api_token::create(&app.pool, organisation_id, user_id, &person.actor, wanted, &once).await {
        Ok((_, token)) => {
            super::page(&AccountPage { new_token: Some(token), ..page(&app, &signed_in).await? })
        }
        Err(problem @ (Problem::Invalid { .. } | Problem::Conflict { .. })) => {
            with_fault(&app, &signed_in, &problem).await
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /account/tokens/{id}/revoke`.
pub async fn revoke_token(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<Uuid>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    let person = &signed_in.person;
    api_token::revoke(&app.pool, person.organisation_id, person.user_id, &person.actor, id).await?;
    Ok(Redirect::to("/account?done=token").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_called_by_their_names() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/156.0 Safari/537.36 Edg/156.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1",
                "Safari on iPhone",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0", "Firefox on Linux"),
            ("fluvio-cloud/0.1.0 (linux)", "fluvio-cloud/0.1.0"),
            ("", ""),
        ] {
            assert_eq!(program(agent), name);
        }
    }
}
