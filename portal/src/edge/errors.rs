//! The face of a problem: a page for people, `application/problem+json` for programs. Each router has one of
//! these layers, so a handler never chooses; statuses that the web server made itself get a face too.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;

use crate::edge::headers::RequestId;
use crate::pages;
use crate::problem::{Problem, Shown};

/// An error of the JSON API (RFC 9457), with what to do next.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened.
    detail: String,
    /// What to do next.
    fix: String,
    /// Under this the operator finds the request in the log.
    request_id: String,
}

/// Shows problems to programs.
pub async fn as_json(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let response = next.run(request).await;
    let Some(problem) = problem_of(&response) else { return response };
    let shown = problem.shown();
    let mut body = Json(problem_body(&shown, &id)).into_response();
    body.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if shown.status == StatusCode::UNAUTHORIZED {
        body.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    finish(body, &shown, problem)
}

/// Shows problems to people. Who must sign in first is led to the login page.
pub async fn as_page(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let wants_page = request.method() == axum::http::Method::GET;
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let Some(problem) = problem_of(&response) else { return response };
    if let (Problem::SignIn(_), true) = (&problem, wants_page && !path.ends_with("/events")) {
        return Redirect::to(&format!("/login?next={path}")).into_response();
    }
    let shown = problem.shown();
    finish(pages::error::render(&shown, &id), &shown, problem)
}

fn finish(mut response: Response, shown: &Shown, problem: Problem) -> Response {
    *response.status_mut() = shown.status;
    if let Some(seconds) = shown.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    // Kept for layers further out, such as the one that forgets an idempotency key.
    response.extensions_mut().insert(problem);
    response
}

/// The problem of a response, unless it has a face already.
fn problem_of(response: &Response) -> Option<Problem> {
    if let Some(problem) = response.extensions().get::<Problem>() {
        return Some(problem.clone());
    }
    let status = response.status();
    let bare = (status.is_client_error() || status.is_server_error())
        && response.extensions().get::<HasFace>().is_none();
    match status {
        _ if !bare => None,
        StatusCode::NOT_FOUND => Some(Problem::Missing("page")),
        StatusCode::INTERNAL_SERVER_ERROR => Some(Problem::Internal),
        StatusCode::BAD_REQUEST => Some(Problem::Malformed("A part of the address is not valid.".into())),
        other => Some(Problem::Http(other)),
    }
}

/// Marks a response with an error status that is a whole page already, such as a form with its faults.
#[derive(Clone, Copy)]
pub struct HasFace;

fn problem_body(shown: &Shown, request_id: &str) -> ProblemBody {
    ProblemBody {
        kind: format!("urn:fluvio-cloud:problem:{}", shown.kind),
        title: shown.title.to_owned(),
        status: shown.status.as_u16(),
        detail: shown.detail.clone(),
        fix: shown.fix.clone(),
        request_id: request_id.to_owned(),
    }
}

fn request_id(request: &Request) -> String {
    request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_body_carries_the_fix_and_the_request_s_id() {
        let shown = Problem::conflict("Taken.", "Choose another.").shown();
        let body = serde_json::to_value(problem_body(&shown, "abc")).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:fluvio-cloud:problem:conflict", "title": "Something is in the way", "status": 409,
                "detail": "Taken.", "fix": "Choose another.", "request_id": "abc"
            })
        );
    }

    #[test]
    fn bare_statuses_get_a_face_and_whole_pages_keep_theirs() {
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        assert!(problem_of(&response).is_some());
        response.extensions_mut().insert(HasFace);
        assert!(problem_of(&response).is_none());
        assert!(problem_of(&StatusCode::OK.into_response()).is_none());
    }
}
