//! The outermost layer: request id, security headers, one log line a request. The log names the path and never
//! the query, which may carry the secret of a mailed link.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::app::App;

/// The id of one request: in its answer, in its errors and in the log. Always ours, never the client's.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Everything comes from our own origin, nothing runs or styles inline, nobody frames us.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; \
     frame-ancestors 'none'";

const FIXED: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not "no-referrer": browsers would then send forms with `Origin: null`, which tells ours from nobody's.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];

/// Gives each request its id, its headers and its line in the log.
pub async fn outermost(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = hex::encode(rand::random::<[u8; 8]>());
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, ms = started.elapsed().as_millis(), "answered"));
    set_headers(response.headers_mut(), &id, app.config.secure());
    response
}

fn set_headers(headers: &mut HeaderMap, id: &str, secure: bool) {
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", value);
    }
    if secure {
        let year = HeaderValue::from_static("max-age=63072000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    // Assets say themselves how long they keep; everything else may hold a tenant's data.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_carries_the_security_headers() {
        let mut headers = HeaderMap::new();
        set_headers(&mut headers, "abc", true);
        for name in
            ["content-security-policy", "x-content-type-options", "strict-transport-security", "x-request-id"]
        {
            assert!(headers.contains_key(name), "{name}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(headers["cache-control"], "no-store");
    }

    #[test]
    fn plain_http_promises_no_https() {
        let mut headers = HeaderMap::new();
        set_headers(&mut headers, "abc", false);
        assert!(!headers.contains_key("strict-transport-security"));
    }
}
