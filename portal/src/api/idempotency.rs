//! `Idempotency-Key` on POSTs: the first success is kept, and a retry with the same key gets it again.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::accounts::person::ApiCaller;
use crate::app::App;
use crate::db::idempotency::{self, Claim};
use crate::edge::once::{Once, shown_once, under_way};
use crate::problem::Problem;

/// Marks an answer that holds a secret: it is never kept, so a retry cannot read it again.
#[derive(Clone, Copy)]
pub struct HoldsSecret;

/// Gives a retry the first answer.
pub async fn layer(State(app): State<App>, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(key) = key_of(&request)? else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let caller = ApiCaller::from_request_parts(&mut parts, &app).await?;
    let body = body.collect().await.map_err(|_| Problem::Http(StatusCode::PAYLOAD_TOO_LARGE))?.to_bytes();
    let hash = hash_of(&parts.method, parts.uri.path(), &body);
    let user_id = caller.person.user_id;
    let once = match idempotency::claim(&app.pool, user_id, &key, &hash).await? {
        Claim::Ours => Once::First { user_id, key: key.clone() },
        Claim::Answered { request_hash, .. } | Claim::Made { request_hash, .. } if request_hash != hash => {
            return Err(Problem::conflict(
                "This Idempotency-Key was used for another request.",
                "Send a new key with a new request.",
            ));
        }
        Claim::Answered { status, body, .. } => return replay(status, &body),
        Claim::Made { made, .. } => Once::Again(made),
        Claim::UnderWay => return Err(under_way()),
    };
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(once);
    // The work goes on when the client hangs up, so that its answer is there for the retry.
    let work = tokio::spawn(answer(app, user_id, key, request, next));
    work.await.map_err(|error| Problem::internal(&error))?
}

/// Does the work and keeps its answer if it succeeded. What failed has made nothing and may be tried again.
async fn answer(
    app: App,
    user_id: Uuid,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let response = next.run(request).await;
    if !response.status().is_success() {
        idempotency::forget(&app.pool, user_id, &key).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| Problem::internal(&error))?.to_bytes();
    let status = i32::from(parts.status.as_u16());
    if parts.extensions.get::<HoldsSecret>().is_some() {
        let conflict = i32::from(StatusCode::CONFLICT.as_u16());
        idempotency::keep(&app.pool, user_id, &key, conflict, Value::Null).await?;
    } else {
        let kept = serde_json::from_slice(&body).unwrap_or(Value::Null);
        idempotency::keep(&app.pool, user_id, &key, status, kept).await?;
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(status: i32, body: &Value) -> Result<Response, Problem> {
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or_else(|| Problem::internal(&"a kept answer has no status"))?;
    if status == StatusCode::CONFLICT {
        return Err(shown_once());
    }
    let mut response =
        if body.is_null() { status.into_response() } else { (status, axum::Json(body)).into_response() };
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

fn key_of(request: &Request) -> Result<Option<String>, Problem> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    read_key(request.headers())
}

fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => {
            Err(Problem::Malformed("The Idempotency-Key is empty, longer than 255 or not printable.".into()))
        }
    }
}

fn hash_of(method: &Method, path: &str, body: &Bytes) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), body.as_ref()] {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_s_hash_depends_on_each_part() {
        let hash =
            |method, path, body: &'static str| hash_of(&method, path, &Bytes::from_static(body.as_bytes()));
        let base = hash(Method::POST, "/a", "b");
        assert_eq!(base, hash(Method::POST, "/a", "b"));
        for other in
            [hash(Method::PUT, "/a", "b"), hash(Method::POST, "/ab", ""), hash(Method::POST, "/a", "c")]
        {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_key_is_printable_and_bounded() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).unwrap());
            read_key(&headers)
        };
        assert_eq!(read("abc").unwrap().as_deref(), Some("abc"));
        assert!(read("").is_err() && read(&"x".repeat(256)).is_err() && read("ü").is_err());
        assert!(read_key(&HeaderMap::new()).unwrap().is_none());
    }
}
