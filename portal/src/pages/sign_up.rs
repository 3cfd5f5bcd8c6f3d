//! `/signup`.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::sign_up;
use crate::app::App;
use crate::edge::address::ClientAddress;
use crate::edge::form::ProtectedForm;
use crate::pages::frame::{Frame, Visitor};
use crate::pages::view::Fault;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage {
    frame: Frame,
    email: String,
    fault: Fault,
}

#[derive(Template)]
#[template(path = "sign_up_sent.html")]
struct SentPage {
    frame: Frame,
    email: String,
}

/// The form's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    email: String,
    password: String,
}

/// `GET /signup`.
pub async fn show(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    if visitor.signed_in.is_some() {
        return Ok(Redirect::to("/clusters").into_response());
    }
    let page = SignUpPage { frame: visitor.frame(&app), email: String::new(), fault: Fault::none() };
    let page = super::page(&page)?;
    Ok(visitor.receive(&app, page))
}

/// `POST /signup`.
pub async fn submit(
    State(app): State<App>,
    address: ClientAddress,
    visitor: Visitor,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let frame = visitor.frame(&app);
    match sign_up::sign_up(&app, address, &fields.email, &fields.password).await {
        Ok(()) => super::page(&SentPage { frame, email: fields.email.trim().to_owned() }),
        Err(problem @ Problem::Invalid { .. }) => {
            let fault = Fault::of(&problem);
            super::refused(&SignUpPage { frame, email: fields.email, fault }, &problem)
        }
        Err(problem) => Err(problem),
    }
}
