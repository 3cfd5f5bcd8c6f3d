//! The two cookies: a sign-in, and the secret that ties forms of people who are not signed in to their browser.

use axum::http::{HeaderMap, HeaderValue, header};

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// The sign-in.
    Session,
    /// The forms of people who are not signed in.
    Form,
}

/// How long the browser keeps a sign-in: its absolute end. The server ends idle ones earlier.
const SESSION_SECONDS: u32 = 30 * 24 * 3600;

impl Cookie {
    /// Over https the `__Host-` prefix makes browsers refuse the cookie from any other host or path.
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Cookie::Session, true) => "__Host-session",
            (Cookie::Session, false) => "session",
            (Cookie::Form, true) => "__Host-form",
            (Cookie::Form, false) => "form",
        }
    }

    /// The cookie's value in a request.
    pub fn read(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let name = self.name(secure);
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, value)| *key == name && is_secret(value))
            .map(|(_, value)| value.to_owned())
    }

    /// The header that sets it.
    pub fn set(self, secret: &str, secure: bool) -> HeaderValue {
        let age = match self {
            Cookie::Session => format!("; Max-Age={SESSION_SECONDS}"),
            Cookie::Form => String::new(),
        };
        self.header(secret, &age, secure)
    }

    /// The header that makes the browser forget it.
    pub fn forget(self, secure: bool) -> HeaderValue {
        self.header("", "; Max-Age=0", secure)
    }

    fn header(self, value: &str, age: &str, secure: bool) -> HeaderValue {
        let name = self.name(secure);
        let secure = if secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}");
        HeaderValue::try_from(text).expect("names and secrets are plain ASCII")
    }
}

fn is_secret(value: &str) -> bool {
    value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_cookies_are_bound_to_the_host() {
        let secret = crate::edge::secret::make();
        let header = Cookie::Session.set(&secret, true);
        assert_eq!(
            header.to_str().unwrap(),
            format!("__Host-session={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000; Secure")
        );
        assert!(!Cookie::Session.set(&secret, false).to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn only_a_well_formed_value_of_the_right_name_is_read() {
        let secret = crate::edge::secret::make();
        for (line, expected) in [
            (format!("session={secret}"), Some(secret.clone())),
            (format!("a=b; session={secret}; c=d"), Some(secret.clone())),
            (format!("xsession={secret}"), None),
            ("session=short".to_owned(), None),
            (format!("session={}\u{7f}", &secret[1..]), None),
            (String::new(), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::COOKIE,
                HeaderValue::from_bytes(line.as_bytes()).unwrap_or(HeaderValue::from_static("")),
            );
            assert_eq!(Cookie::Session.read(&headers, false), expected, "{line}");
            assert_eq!(Cookie::Session.read(&headers, true), None);
        }
    }
}
