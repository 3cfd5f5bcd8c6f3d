//! JSON bodies: unknown fields and other content types are refused with a problem.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::problem::Problem;

/// A request's JSON body.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        // A page of another site can send text/plain without asking; it cannot send this.
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|value| value.split(';').next()).map(str::trim);
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
            return Err(Problem::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        read(request).await.map(JsonBody)
    }
}

/// A request's JSON body under any content type: published clients of upstream call theirs text/plain. Only for
/// handlers that go by no cookie, so that a page of another site gains nothing by it.
pub struct UntypedJsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for UntypedJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        read(request).await.map(UntypedJsonBody)
    }
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let body =
        Bytes::from_request(request, &()).await.map_err(|rejection| Problem::Http(rejection.status()))?;
    serde_json::from_slice(&body).map_err(|error| {
        Problem::Malformed(format!("The body is not the JSON that is wanted here: {error}."))
    })
}
