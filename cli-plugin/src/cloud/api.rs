//! HTTP to the portal: one call at a time, every one with a deadline and a bounded answer.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Method, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::answers::Problem;
use super::remote::Remote;
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the portal waits for its signer, so that the portal's own words arrive.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: u64 = 4 * 1024 * 1024;

/// Why a call has no answer, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The token is not (or no longer) accepted: refresh it, or sign in again.
    #[error("{}", .0.what())]
    Unauthorised(Refusal),
    /// The portal understood and says no.
    #[error("{}", .0.what())]
    Refused(Refusal),
    /// The portal cannot just now: the same call may work later.
    #[error("{}", .0.what())]
    Unavailable(Refusal),
    /// Nothing came back from there.
    #[error("{remote} does not answer: {why}")]
    Unreachable {
        /// The portal.
        remote: String,
        /// The connection's own words.
        why: String,
    },
    /// Who answers there cannot prove to be the portal.
    #[error("{remote} shows a certificate that this machine does not trust: {why}")]
    Untrusted {
        /// The portal.
        remote: String,
        /// The check's own words.
        why: String,
    },
    /// What came back is not a portal's answer.
    #[error("{remote} answered, but not as a Fluvio Cloud portal does: {why}")]
    Foreign {
        /// The portal.
        remote: String,
        /// What was wrong with the answer.
        why: String,
    },
}

/// The portal's reasons.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    problem: Problem,
}

impl Refusal {
    fn what(&self) -> String {
        let said = self.problem.detail.as_deref().or(self.problem.title.as_deref());
        match said {
            Some(text) => text.to_owned(),
            None => format!("the portal answered with status {}", self.status),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let what = error.to_string();
        let fix = match &error {
            ApiError::Unauthorised(refusal) => {
                refusal.problem.fix.clone().or(Some("fluvio cloud login".to_owned()))
            }
            ApiError::Refused(refusal) => refusal.problem.fix.clone(),
            ApiError::Unavailable(refusal) => {
                let id = refusal.problem.request_id.as_ref();
                let quote = id.map(|id| format!(" (request id {id})")).unwrap_or_default();
                refusal.problem.fix.clone().or(Some(format!("try again in a moment{quote}")))
            }
            ApiError::Unreachable { .. } => {
                Some("check the address, the network and that the portal runs".to_owned())
            }
            ApiError::Untrusted { .. } => Some(
                "if the portal has a certificate authority of its own: fluvio cloud login --ca-file FILE"
                    .to_owned(),
            ),
            ApiError::Foreign { .. } => Some("check the address given with --remote".to_owned()),
        };
        let failure = Self::failed(what);
        match fix {
            Some(fix) => failure.with_fix(fix),
            None => failure,
        }
    }
}

/// A portal to call.
pub struct Api {
    agent: Agent,
    remote: Remote,
}

impl Api {
    /// Prepares calls to a portal; nothing is sent yet. An `authority` (PEM) is the only one that is believed.
    pub fn new(remote: Remote, authority: Option<&str>) -> Result<Self, Failure> {
        // A proxy cannot reach this machine's own loopback.
        let proxy = if remote.is_loopback() { None } else { Proxy::try_from_env() };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(authority.map_or(Ok(RootCerts::PlatformVerifier), only)?)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .http_status_as_error(false)
            // A redirect could carry a password somewhere nobody named.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .user_agent(concat!("fluvio-cloud/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: Agent::new_with_config(config), remote })
    }

    /// The portal that is called.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Sends one call and reads its JSON answer.
    pub fn call<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ApiError> {
        let bytes = self.send(call)?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(format!("{}: {error}", call.path)))
    }

    /// Sends one call whose answer has nothing to read.
    pub fn call_for_nothing(&self, call: &Call<'_>) -> Result<(), ApiError> {
        self.send(call).map(drop)
    }

    fn send(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let mut request = Request::builder().method(call.method.clone()).uri(self.remote.call(call.path));
        request = request.header("accept", "application/json");
        if let Some(token) = call.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let answer = match &call.body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.as_slice());
                request.map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
        };
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let bytes = self.read(answer.body_mut())?;
        match status {
            200..=299 => Ok(bytes),
            300..=399 => Err(self.foreign(format!("it sends elsewhere (status {status})"))),
            _ => Err(refusal(status, &bytes)),
        }
    }

    fn read(&self, body: &mut Body) -> Result<Vec<u8>, ApiError> {
        body.with_config().limit(ANSWER_LIMIT).read_to_vec().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => self.foreign("the answer is too long".to_owned()),
            error => self.unreachable(&error),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> ApiError {
        let (remote, why) = (self.remote.to_string(), error.to_string());
        // The check's verdict arrives as an I/O error of the handshake; rustls begins each with these words.
        match why.find("invalid peer certificate") {
            Some(at) => ApiError::Untrusted { remote, why: why[at..].to_owned() },
            None => ApiError::Unreachable { remote, why },
        }
    }

    fn foreign(&self, why: String) -> ApiError {
        ApiError::Foreign { remote: self.remote.to_string(), why }
    }
}

/// The certificates of a PEM text as the only authorities.
fn only(authority: &str) -> Result<RootCerts, Failure> {
    let fault = || {
        Failure::usage("the file of the portal's certificate authority holds no certificate (PEM)")
            .with_fix("name a file that begins with -----BEGIN CERTIFICATE-----")
    };
    let mut certificates = Vec::new();
    for item in parse_pem(authority.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| fault())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(fault()) } else { Ok(RootCerts::from(certificates)) }
}

fn refusal(status: u16, body: &[u8]) -> ApiError {
    // A proxy in front of the portal answers in HTML: then the status is all there is to say.
    let refusal = Refusal { status, problem: serde_json::from_slice(body).unwrap_or_default() };
    match status {
        401 => ApiError::Unauthorised(refusal),
        408 | 425 | 429 | 500.. => ApiError::Unavailable(refusal),
        _ => ApiError::Refused(refusal),
    }
}

/// One call: what to send where.
#[derive(Clone)]
pub struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<Vec<u8>>,
    token: Option<&'a str>,
    idempotency_key: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Reads something.
    pub fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None, token: None, idempotency_key: None }
    }

    /// Ends something.
    pub fn delete(path: &'a str) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// Changes something as a JSON document says.
    pub fn patch(path: &'a str, body: &impl Serialize) -> Self {
        Self { method: Method::PATCH, ..Self::post(path, body) }
    }

    /// Makes something out of a JSON document.
    pub fn post(path: &'a str, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("our own requests are plain structs with text keys");
        Self { method: Method::POST, body: Some(body), ..Self::get(path) }
    }

    /// Proves who is calling.
    #[must_use]
    pub fn with_token(mut self, token: &'a str) -> Self {
        self.token = Some(token);
        self
    }

    /// Makes sending the call twice do the work once.
    #[must_use]
    pub fn once(mut self, key: &'a str) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}

#[cfg(test)]
mod tests;
