//! `/clusters/new`.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::clusters::create::{self, Wanted};
use crate::clusters::names::MOST_SPUS;
use crate::edge::errors::HasFace;
use crate::edge::form::ProtectedForm;
use crate::pages::frame::{Frame, Here};
use crate::pages::view::Fault;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "new_cluster.html")]
struct NewClusterPage {
    frame: Frame,
    name: String,
    spus: String,
    most_spus: i32,
    fault: Fault,
}

/// The form's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    name: String,
    #[serde(default = "one")]
    spus: String,
}

fn one() -> String {
    "1".into()
}

fn form(app: &App, signed_in: &SignedIn, name: String, spus: String, fault: Fault) -> NewClusterPage {
    let frame = Frame::signed_in(app, signed_in, Here::Clusters);
    NewClusterPage { frame, name, spus, most_spus: MOST_SPUS, fault }
}

/// `GET /clusters/new`.
pub async fn show(State(app): State<App>, signed_in: SignedIn) -> Result<Response, Problem> {
    super::page(&form(&app, &signed_in, String::new(), one(), Fault::none()))
}

/// `POST /clusters/new`.
pub async fn submit(
    State(app): State<App>,
    signed_in: SignedIn,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    // What is no number is refused in the words for a number out of range.
    let spus = fields.spus.trim().parse().unwrap_or(0);
    let wanted = Wanted { name: fields.name.trim(), spus };
    match create::create(&app, &signed_in.person, wanted).await {
        Ok(id) => Ok(Redirect::to(&format!("/clusters/{id}")).into_response()),
        Err(problem @ (Problem::Invalid { .. } | Problem::Conflict { .. })) => {
            let fault = Fault::of(&problem);
            let mut page = super::page(&form(&app, &signed_in, fields.name, fields.spus, fault))?;
            *page.status_mut() = problem.shown().status;
            page.extensions_mut().insert(HasFace);
            Ok(page)
        }
        Err(problem) => Err(problem),
    }
}
