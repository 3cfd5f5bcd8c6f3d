//! A cluster's size, and its rest: what the buttons on its page ask for.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::clusters;
use crate::clusters::change::{self, Change, Servers};
use crate::db::clusters::ClusterRow;
use crate::edge::form::ProtectedForm;
use crate::pages::cluster::{self, Asked};
use crate::pages::frame::{Frame, Here};
use crate::pages::login::NoFields;
use crate::pages::view::Fault;
use crate::problem::Problem;

/// The form's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    plan: String,
    spus: String,
}

/// `POST /clusters/{id}/size`.
pub async fn submit(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let row = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    // What is no number is refused in the words for a number out of range.
    let spus = fields.spus.trim().parse().unwrap_or(0);
    let change = Change { plan: Some(&fields.plan), spus: Some(spus), principals: None };
    match change::update(&app, &signed_in.person, &row, change).await {
        Ok(()) => Ok(to_page(&row.id.to_string())),
        Err(problem @ (Problem::Invalid { .. } | Problem::Conflict { .. })) => {
            let fault = Fault::of(&problem);
            let asked = Asked { plan: Some(fields.plan), spus: Some(fields.spus), principals: None, fault };
            Ok(super::with_problem(cluster::page(&app, &signed_in, &id, asked).await?, &problem))
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "pause.html")]
struct PausePage {
    frame: Frame,
    cluster: Cluster,
    csrf: String,
}

/// What the page's form names.
struct Cluster {
    row: ClusterRow,
}

/// `GET /clusters/{id}/pause`: for browsers without dialogs.
pub async fn show_pause(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    super::page(&PausePage {
        frame: Frame::signed_in(&app, &signed_in, Here::Clusters),
        cluster: Cluster { row },
        csrf: signed_in.form_token.clone(),
    })
}

/// `POST /clusters/{id}/pause`.
pub async fn pause(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    set_servers(&app, &signed_in, &id, Servers::Rest).await
}

/// `POST /clusters/{id}/resume`.
pub async fn resume(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    set_servers(&app, &signed_in, &id, Servers::Run).await
}

async fn set_servers(
    app: &App,
    signed_in: &SignedIn,
    id: &str,
    servers: Servers,
) -> Result<Response, Problem> {
    let row = clusters::find(app, signed_in.person.organisation_id, id).await?;
    change::set_servers(app, &signed_in.person, &row, servers).await?;
    Ok(to_page(&row.id.to_string()))
}

fn to_page(id: &str) -> Response {
    Redirect::to(&format!("/clusters/{id}")).into_response()
}
