//! The web pages, one file each. A page is a template with its values; the fragments that change while it is
//! watched are templates of their own, rendered by the page and by its event stream alike.

pub mod account;
pub mod certificates;
pub mod chart;
pub mod cluster;
pub mod dashboard;
pub mod error;
pub mod fleet;
pub mod frame;
pub mod health;
pub mod landing;
pub mod login;
pub mod new_cluster;
pub mod outbox;
pub mod remove;
pub mod sign_up;
pub mod size;
pub mod verify;
pub mod view;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};

use crate::problem::Problem;

/// Renders a template.
pub fn render(template: &impl Template) -> Result<String, Problem> {
    template.render().map_err(|error| Problem::internal(&error))
}

/// Renders a whole page.
pub fn page(template: &impl Template) -> Result<Response, Problem> {
    Ok(Html(render(template)?).into_response())
}
