//! `/`: what this is, in one sentence.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::pages::frame::{Frame, Visitor};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "landing.html")]
struct Landing {
    frame: Frame,
}

/// `GET /`.
pub async fn show(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let page = super::page(&Landing { frame: visitor.frame(&app) })?;
    Ok(visitor.receive(&app, page))
}
