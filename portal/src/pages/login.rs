//! `/login` and `/logout`.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::person::{self, SignedIn};
use crate::accounts::sign_in;
use crate::app::App;
use crate::db::sessions::Kind;
use crate::edge::address::ClientAddress;
use crate::edge::cookies::Cookie;
use crate::edge::form::ProtectedForm;
use crate::pages::frame::{self, Frame, Visitor};
use crate::pages::view::Fault;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    email: String,
    next: String,
    fault: Fault,
}

/// Where to go afterwards.
#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// The form's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// The form of a button that carries nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

/// Only a path of ours: a link cannot make the login lead elsewhere.
fn own_path(next: &str) -> &str {
    let plain = next.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b));
    if next.starts_with('/') && !next.starts_with("//") && plain { next } else { "/clusters" }
}

/// `GET /login`.
pub async fn show(
    State(app): State<App>,
    Query(next): Query<Next>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    if visitor.signed_in.is_some() {
        return Ok(Redirect::to(own_path(&next.next)).into_response());
    }
    let frame = visitor.frame(&app);
    let page =
        super::page(&LoginPage { frame, email: String::new(), next: next.next, fault: Fault::none() })?;
    Ok(visitor.receive(&app, page))
}

/// `POST /login`.
pub async fn submit(
    State(app): State<App>,
    address: ClientAddress,
    visitor: Visitor,
    headers: HeaderMap,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let agent = person::agent(&headers);
    let tried = sign_in::sign_in(&app, Kind::Browser, address, &agent, &fields.email, &fields.password).await;
    match tried {
        Ok(proven) => {
            // The sign-in that this browser had before, if any, is over: a cookie never lives on under a new one.
            if let Some(before) = &visitor.signed_in {
                let person = &before.person;
                sign_in::sign_out(&app, &person.actor, person.user_id, before.session_id).await?;
            }
            let secret =
                proven.secret.ok_or_else(|| Problem::internal(&"a browser's sign-in has a cookie"))?;
            let response = Redirect::to(own_path(&fields.next)).into_response();
            Ok(frame::set_cookie(response, Cookie::Session.set(&secret, app.config.secure())))
        }
        Err(problem @ (Problem::SignIn(_) | Problem::Refused { .. })) => {
            let page = LoginPage {
                frame: visitor.frame(&app),
                email: fields.email,
                next: fields.next,
                fault: Fault::of(&problem),
            };
            super::refused(&page, &problem)
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /logout`.
pub async fn logout(
    State(app): State<App>,
    signed_in: SignedIn,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    let person = &signed_in.person;
    sign_in::sign_out(&app, &person.actor, person.user_id, signed_in.session_id).await?;
    let response = Redirect::to("/").into_response();
    Ok(frame::set_cookie(response, Cookie::Session.forget(app.config.secure())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_leads_nowhere_but_to_our_own_pages() {
        for (next, expected) in [
            ("/clusters/abc", "/clusters/abc"),
            ("/account", "/account"),
            ("", "/clusters"),
            ("//evil.example", "/clusters"),
            ("https://evil.example", "/clusters"),
            ("/\\evil.example", "/clusters"),
            ("/a?b", "/clusters"),
            ("javascript:alert(1)", "/clusters"),
        ] {
            assert_eq!(own_path(next), expected, "{next}");
        }
    }
}
