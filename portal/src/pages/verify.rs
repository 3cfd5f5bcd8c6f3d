//! `/verify`: the mailed link. Looking at it changes nothing, so mail scanners that follow links do no harm.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::{person, verify};
use crate::app::App;
use crate::db::links;
use crate::edge::address::ClientAddress;
use crate::edge::cookies::Cookie;
use crate::edge::form::ProtectedForm;
use crate::edge::secret;
use crate::pages::frame::{self, Frame, Visitor};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "verify.html")]
struct VerifyPage {
    frame: Frame,
    token: String,
}

/// The link's secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    token: String,
}

/// `GET /verify?token=…`.
pub async fn show(
    State(app): State<App>,
    Query(Token { token }): Query<Token>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    if !links::is_good(&app.pool, &secret::hash(&token)).await? {
        return Err(verify::dead_link());
    }
    let page = super::page(&VerifyPage { frame: visitor.frame(&app), token })?;
    Ok(visitor.receive(&app, page))
}

/// `POST /verify`.
pub async fn submit(
    State(app): State<App>,
    address: ClientAddress,
    headers: HeaderMap,
    ProtectedForm(Token { token }): ProtectedForm<Token>,
) -> Result<Response, Problem> {
    let verified = verify::verify(&app, address, &person::agent(&headers), &token).await?;
    let place = verified.cluster_id.map_or_else(|| "/clusters".to_owned(), |id| format!("/clusters/{id}"));
    let response = Redirect::to(&place).into_response();
    Ok(frame::set_cookie(response, Cookie::Session.set(&verified.cookie, app.config.secure())))
}
