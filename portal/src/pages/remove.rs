//! Deleting a cluster from the page, its name typed again; and having it back.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::clusters::{self, remove};
use crate::edge::form::ProtectedForm;
use crate::pages::frame::{Frame, Here};
use crate::pages::login::NoFields;
use crate::pages::view::Fault;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "delete.html")]
struct DeletePage {
    frame: Frame,
    csrf: String,
    id: String,
    name: String,
    grace: String,
    fault: Fault,
}

/// The form's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    #[serde(default)]
    confirm: String,
}

/// The time of grace in words.
pub fn grace(seconds: u32) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

async fn form(app: &App, signed_in: &SignedIn, id: &str, fault: Fault) -> Result<DeletePage, Problem> {
    let cluster = clusters::find(app, signed_in.person.organisation_id, id).await?;
    Ok(DeletePage {
        frame: Frame::signed_in(app, signed_in, Here::Clusters),
        csrf: signed_in.form_token.clone(),
        id: cluster.id.to_string(),
        name: cluster.name,
        grace: grace(app.config.delete_grace_seconds),
        fault,
    })
}

/// `GET /clusters/{id}/delete`.
pub async fn show(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    super::page(&form(&app, &signed_in, &id, Fault::none()).await?)
}

/// `POST /clusters/{id}/delete`.
pub async fn submit(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let cluster = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    if fields.confirm.trim() != cluster.name {
        let problem = Problem::invalid(
            "confirm",
            "That is not the cluster's name. Nothing was deleted.",
            format!("Type {} to delete it.", cluster.name),
        );
        return super::refused(&form(&app, &signed_in, &id, Fault::of(&problem)).await?, &problem);
    }
    remove::delete(&app, &signed_in.person, &cluster).await?;
    Ok(Redirect::to("/clusters").into_response())
}

/// `POST /clusters/{id}/undelete`.
pub async fn undelete(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    let cluster = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    remove::undelete(&app, &signed_in.person, &cluster).await?;
    Ok(Redirect::to(&format!("/clusters/{}", cluster.id)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_grace_is_told_in_its_unit() {
        for (seconds, text) in
            [(5, "5 seconds"), (600, "10 minutes"), (86_400, "24 hours"), (604_800, "7 days")]
        {
            assert_eq!(grace(seconds), text);
        }
    }
}
