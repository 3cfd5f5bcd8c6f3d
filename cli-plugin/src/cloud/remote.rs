//! Which portal to talk to, and whether its address may be used.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;

use crate::failure::Failure;

/// The variable that names the portal when `--remote` does not.
pub const REMOTE_VARIABLE: &str = "FLUVIO_CLOUD_REMOTE";

/// A portal's base address, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    base: String,
    host: String,
    loopback: bool,
}

impl Remote {
    /// The first that is given: the option, the variable, the last login. There is no portal that all the world shares.
    pub fn choose(
        option: Option<&str>,
        variable: Option<&str>,
        last: Option<&str>,
        consent: PlainHttp,
    ) -> Result<Self, Failure> {
        match option.or(variable.filter(|text| !text.is_empty())).or(last) {
            Some(text) => Self::parse(text, consent),
            None => Err(Failure::usage("no portal is known to log in to").with_fix(format!(
                "name it once: `fluvio cloud login --remote https://portal.example.com`, or set {REMOTE_VARIABLE}"
            ))),
        }
    }

    /// Reads an address as a person types it; without a scheme it is https.
    pub fn parse(text: &str, consent: PlainHttp) -> Result<Self, Failure> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let full = format!("{scheme}://{}", rest.trim_end_matches('/'));
        let wrong = |why: &str| {
            Failure::usage(format!("`{text}` is not the address of a portal: {why}"))
                .with_fix("use a form like https://portal.example.com or http://127.0.0.1:8080")
        };
        let uri: Uri = full.parse().map_err(|_| wrong("it cannot be read as a URL"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("names and passwords do not belong in an address"));
        }
        if uri.query().is_some() || full.contains('#') {
            return Err(wrong("it goes on after the path"));
        }
        let loopback = is_loopback(&host);
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if loopback || consent == PlainHttp::Allowed => {}
            Some("http") => {
                return Err(Failure::usage(format!(
                    "{host} is not this machine, and over http everyone on the way reads your password"
                ))
                .with_fix("use https://, or add --allow-plain-http if that network is yours alone"));
            }
            _ => return Err(wrong("only https and http are known")),
        }
        Ok(Self { base: full, host, loopback })
    }

    /// The address of one call.
    pub fn call(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }

    /// The host's name alone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the portal runs on this machine, so that no proxy can reach it.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_exposed(&self) -> bool {
        !self.loopback && self.base.starts_with("http://")
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// Whether the person agreed to http:// for a host that is not this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// They did.
    Allowed,
    /// Nobody asked them, so no.
    Refused,
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_type_them() {
        let cases = [
            ("https://Portal.Example.com/", "https://Portal.Example.com/api/v1/me"),
            ("portal.example.com", "https://portal.example.com/api/v1/me"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v1/me"),
            ("http://[::1]:8080//", "http://[::1]:8080/api/v1/me"),
            ("http://cloud.localhost:1", "http://cloud.localhost:1/api/v1/me"),
            ("https://example.com/fluvio", "https://example.com/fluvio/api/v1/me"),
        ];
        for (typed, call) in cases {
            assert_eq!(Remote::parse(typed, PlainHttp::Refused).unwrap().call("/me"), call);
        }
    }

    #[test]
    fn plain_http_leaves_this_machine_only_with_consent() {
        for typed in ["http://portal.example.com", "http://10.0.0.7:8080", "http://127.example.com"] {
            assert!(Remote::parse(typed, PlainHttp::Refused).is_err(), "{typed}");
            assert!(Remote::parse(typed, PlainHttp::Allowed).unwrap().is_exposed(), "{typed}");
        }
        assert!(!Remote::parse("http://localhost:8080", PlainHttp::Refused).unwrap().is_exposed());
    }

    #[test]
    fn what_is_no_portal_is_refused() {
        for typed in [
            "",
            "https://",
            "ftp://a.b",
            "https://ada:secret@a.b",
            "https://a.b/?x=1",
            "https://a.b/#x",
            "a b",
        ] {
            assert!(Remote::parse(typed, PlainHttp::Allowed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn the_option_wins_over_the_variable_and_that_over_the_last_login() {
        let choose = |option, variable, last| {
            Remote::choose(option, variable, last, PlainHttp::Refused).map(|remote| remote.to_string())
        };
        assert_eq!(choose(Some("a.x"), Some("b.x"), Some("c.x")).unwrap(), "https://a.x");
        assert_eq!(choose(None, Some("b.x"), Some("c.x")).unwrap(), "https://b.x");
        assert_eq!(choose(None, Some(""), Some("c.x")).unwrap(), "https://c.x");
        assert!(choose(None, None, None).unwrap_err().to_string().contains("no portal is known"));
    }
}
