//! `/clusters/new`.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::clusters::create::{self, Wanted};
use crate::clusters::{plans, regions};
use crate::db::regions::RegionRow;
use crate::edge::form::ProtectedForm;
use crate::edge::once::Once;
use crate::pages::frame::{Frame, Here};
use crate::pages::view::{Fault, PlanChoice};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "new_cluster.html")]
struct NewClusterPage {
    frame: Frame,
    fields: Fields,
    plans: Vec<PlanChoice>,
    /// To choose from; a choice of one is none.
    regions: Vec<RegionRow>,
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
    #[serde(default = "smallest")]
    plan: String,
    /// Empty: the default.
    #[serde(default)]
    region: String,
}

fn one() -> String {
    "1".into()
}

fn smallest() -> String {
    plans::SMALLEST.name.into()
}

async fn form(
    app: &App,
    signed_in: &SignedIn,
    fields: Fields,
    fault: Fault,
) -> Result<NewClusterPage, Problem> {
    let mut connection = app.pool.acquire().await?;
    let known = regions::known(&mut connection, &app.config).await?;
    Ok(NewClusterPage {
        frame: Frame::signed_in(app, signed_in, Here::Clusters),
        plans: plans::ALL.into_iter().map(|plan| PlanChoice::new(plan, &fields.plan)).collect(),
        regions: regions::open(&known, &app.config.region).into_iter().cloned().collect(),
        most_spus: plans::ALL.iter().map(|plan| plan.spus).fold(1, i32::max),
        fields,
        fault,
    })
}

/// `GET /clusters/new`.
pub async fn show(State(app): State<App>, signed_in: SignedIn) -> Result<Response, Problem> {
    let fields = Fields { name: String::new(), spus: one(), plan: smallest(), region: String::new() };
    super::page(&form(&app, &signed_in, fields, Fault::none()).await?)
}

/// `POST /clusters/new`.
pub async fn submit(
    State(app): State<App>,
    signed_in: SignedIn,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    match create(&app, &signed_in, &fields).await {
        Ok(id) => Ok(Redirect::to(&format!("/clusters/{id}")).into_response()),
        Err(problem @ (Problem::Invalid { .. } | Problem::Conflict { .. })) => {
            let fault = Fault::of(&problem);
            super::refused(&form(&app, &signed_in, fields, fault).await?, &problem)
        }
        Err(problem) => Err(problem),
    }
}

async fn create(app: &App, signed_in: &SignedIn, fields: &Fields) -> Result<uuid::Uuid, Problem> {
    let wanted = Wanted {
        name: fields.name.trim(),
        plan: plans::named(&fields.plan)?,
        // What is no number is refused in the words for a number out of range.
        spus: fields.spus.trim().parse().unwrap_or(0),
        region: Some(fields.region.as_str()).filter(|region| !region.is_empty()),
    };
    create::create(app, &signed_in.person, wanted, &Once::Unkeyed).await
}
