//! Forms that only our own pages can send: origin, content type and token are checked before a handler sees
//! a field. A handler that takes a [`ProtectedForm`] cannot forget to.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::App;
use crate::edge::cookies::Cookie;
use crate::edge::secret;
use crate::problem::Problem;

/// A form's fields, from a page that this portal made for this browser.
pub struct ProtectedForm<T>(pub T);

/// The token for a browser that holds this cookie.
pub fn token(cookie_secret: &str) -> String {
    secret::derive("form", cookie_secret)
}

impl<T: DeserializeOwned> FromRequest<App> for ProtectedForm<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        if !comes_from_here(&headers, &app.config.public_url) || !is_form(&headers) {
            return Err(foreign());
        }
        let body =
            Bytes::from_request(request, &()).await.map_err(|rejection| Problem::Http(rejection.status()))?;
        let mut fields = read_fields(&body)?;
        let given = fields.remove("csrf_token");
        let given = given.as_ref().and_then(Value::as_str).unwrap_or_default();
        let secure = app.config.secure();
        let ours = [Cookie::Session, Cookie::Form]
            .into_iter()
            .filter_map(|cookie| cookie.read(&headers, secure))
            .any(|cookie| secret::same(&token(&cookie), given));
        if !ours {
            return Err(foreign());
        }
        serde_json::from_value(Value::Object(fields)).map(ProtectedForm).map_err(|error| {
            Problem::Malformed(format!("The form's fields are not those of this page ({error})."))
        })
    }
}

fn foreign() -> Problem {
    Problem::refused(
        "The form did not come from a page of this portal, or the page is older than your sign-in. Nothing was \
         changed.",
        "Load the page again and send the form once more.",
    )
}

/// A browser says where a form comes from; what says nothing must still carry the token.
fn comes_from_here(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let host = text("host").unwrap_or_default();
    let scheme = public_url.split("://").next().unwrap_or_default();
    origin == public_url || (!host.is_empty() && origin == format!("{scheme}://{host}"))
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// Fields as text. A field given twice is refused: readers that disagree about which one counts are a hole.
fn read_fields(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body)
        .map_err(|_| Problem::Malformed("The form's fields cannot be read.".into()))?;
    let mut fields = Map::new();
    for (name, value) in pairs {
        if fields.insert(name, Value::String(value)).is_some() {
            return Err(Problem::Malformed("A field was given twice.".into()));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn forms_of_other_sites_are_told_by_their_headers() {
        for (pairs, expected) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("origin", "http://127.0.0.1:8080")], true),
            (vec![("origin", "http://localhost:8080"), ("host", "localhost:8080")], true),
            (vec![("origin", "http://evil.example"), ("host", "127.0.0.1:8080")], false),
            (vec![("origin", "null"), ("host", "127.0.0.1:8080")], false),
            (vec![("origin", "https://127.0.0.1:8080"), ("host", "127.0.0.1:8080")], false),
        ] {
            assert_eq!(comes_from_here(&headers(&pairs), "http://127.0.0.1:8080"), expected, "{pairs:?}");
        }
    }

    #[test]
    fn only_the_form_type_is_a_form() {
        for (kind, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("application/x-www-form-urlencoded; charset=utf-8", true),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
            ("application/json", false),
        ] {
            assert_eq!(is_form(&headers(&[("content-type", kind)])), expected, "{kind}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        assert!(read_fields(b"a=1&b=2").is_ok());
        assert!(read_fields(b"a=1&a=2").is_err());
    }

    #[test]
    fn a_token_belongs_to_one_browser() {
        assert_ne!(token("one"), token("two"));
        assert_ne!(token("one"), "one");
    }
}
