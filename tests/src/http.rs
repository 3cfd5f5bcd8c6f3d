//! A small HTTP/1.1 client: one connection a request, cookies kept, nothing hidden. Plain on loopback, over TLS
//! elsewhere.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use crate::wait::within;

/// No answer takes longer, a queue for password hashing included.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Ask {
    pub fn new(method: Method, path: &str) -> Ask {
        Ask { method, path: path.to_string(), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn get(path: &str) -> Ask {
        Ask::new(Method::GET, path)
    }

    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }

    pub fn json(self, value: &Value) -> Ask {
        let mut ask = self.header("content-type", "application/json");
        ask.body = Bytes::from(value.to_string());
        ask
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Ask {
        let mut ask = self.header("content-type", "application/x-www-form-urlencoded");
        let text: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        ask.body = Bytes::from(text.join("&"));
        ask
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("not JSON ({}): {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The answer, or an error that carries what was answered instead.
    pub fn expect(self, status: u16) -> anyhow::Result<Answer> {
        if self.status.as_u16() != status {
            let text = self.text();
            bail!(
                "expected {status}, was answered {}: {}",
                self.status,
                text.chars().take(600).collect::<String>()
            );
        }
        Ok(self)
    }
}

/// Who is calling: the cookies of a browser, and an address of loopback's network that is the caller's own, so
/// that limits by address see as many people as there are.
#[derive(Debug, Clone)]
pub struct Caller {
    pub address: Ipv4Addr,
    pub cookies: BTreeMap<String, String>,
    /// The authority that the portal's certificate is checked against.
    pub authority: Option<PathBuf>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Sends the request to `base` (`http://host:port`, or `https://`); the body of the answer is still to be read.
pub async fn open(base: &str, ask: Ask, caller: &Caller) -> anyhow::Result<Response<Incoming>> {
    let (scheme, host) = base.split_once("://").with_context(|| format!("{base} is no URL"))?;
    let stream = connect(scheme, host, caller).await.with_context(|| format!("cannot reach {host}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let cookies = &caller.cookies;
    let mut request = Request::builder().method(ask.method).uri(&ask.path).header("host", host);
    if !cookies.is_empty() {
        let text: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request = request.header("cookie", text.join("; "));
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    Ok(sender.send_request(request.body(Full::new(ask.body))?).await?)
}

async fn connect(scheme: &str, host: &str, caller: &Caller) -> anyhow::Result<Box<dyn Io>> {
    let to: SocketAddr = host.replace("localhost", "127.0.0.1").parse().context("not an address")?;
    let socket = TcpSocket::new_v4()?;
    if to.ip().is_loopback() {
        socket.bind(SocketAddr::from((caller.address, 0)))?;
    }
    let stream = socket.connect(to).await?;
    if scheme == "http" {
        return Ok(Box::new(stream));
    }
    let authority = caller.authority.as_deref().context("no authority to check the certificate against")?;
    let name = ServerName::from(to.ip());
    Ok(Box::new(tokio_rustls::TlsConnector::from(trusting(authority)?).connect(name, stream).await?))
}

fn trusting(authority: &Path) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Sends the request and reads the whole answer.
pub async fn send(base: &str, ask: Ask, caller: &Caller) -> anyhow::Result<Answer> {
    let what = format!("{} {}", ask.method, ask.path);
    let work = async {
        let (parts, body) = open(base, ask, caller).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        anyhow::Ok(Answer { status: parts.status, headers: parts.headers, body })
    };
    within(&format!("the answer to {what}"), ANSWER_WITHIN, work).await.with_context(|| what)
}

/// Percent-encoding of all but the unreserved characters.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
