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
pub mod principal_limits;
pub mod remove;
pub mod rights;
pub mod sign_up;
pub mod size;
pub mod verify;
pub mod view;

use askama::Template;
use axum::response::{Html, IntoResponse, Response};

use crate::edge::errors::HasFace;
use crate::problem::Problem;

/// Renders a template.
pub fn render(template: &impl Template) -> Result<String, Problem> {
    template.render().map_err(|error| Problem::internal(&error))
}

/// Renders a whole page.
pub fn page(template: &impl Template) -> Result<Response, Problem> {
    Ok(Html(render(template)?).into_response())
}

/// The same page again after a form that was refused, with the problem's status.
pub fn refused(template: &impl Template, problem: &Problem) -> Result<Response, Problem> {
    page(template).map(|page| with_problem(page, problem))
}

/// A whole page that tells a problem: it keeps its face.
pub fn with_problem(mut page: Response, problem: &Problem) -> Response {
    *page.status_mut() = problem.shown().status;
    page.extensions_mut().insert(HasFace);
    page
}
