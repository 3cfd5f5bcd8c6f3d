//! The API server as its operator's HTTP client meets it, without a library in between.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where it is, and how the operator proves to be the operator.
#[derive(Clone)]
pub struct ApiServer {
    pub address: SocketAddr,
    tls: TlsConnector,
}

/// One connection; requests follow each other on it.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl ApiServer {
    /// The one that a kubeconfig with embedded certificates names.
    pub fn of(kubeconfig: &Path) -> anyhow::Result<ApiServer> {
        let config: Value = serde_yaml_ng::from_slice(&std::fs::read(kubeconfig)?)?;
        let data = |pointer: &str| -> anyhow::Result<Vec<u8>> {
            let text = config.pointer(pointer).and_then(Value::as_str).context(pointer.to_string())?;
            Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
        };
        let server = config.pointer("/clusters/0/cluster/server").and_then(Value::as_str);
        let address = server.and_then(|url| url.strip_prefix("https://")).context("a server")?.parse()?;
        let mut roots = rustls::RootCertStore::empty();
        let authorities = data("/clusters/0/cluster/certificate-authority-data")?;
        for certificate in CertificateDer::pem_slice_iter(&authorities) {
            roots.add(certificate?)?;
        }
        let certificate = data("/users/0/user/client-certificate-data")?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&data("/users/0/user/client-key-data")?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(ApiServer { address, tls: TlsConnector::from(Arc::new(tls)) })
    }

    /// A new connection.
    pub async fn line(&self) -> anyhow::Result<Line> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::from(self.address.ip()), stream).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Line { address: self.address, sender })
    }
}

impl Line {
    /// Sends a request as it is.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Whether the API server has not hung up.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks and reads the whole answer.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", kind)
            .header("accept", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let (parts, body) = self.send(request).await?.into_parts();
        Ok((parts.status, body.collect().await?.to_bytes()))
    }

    /// Applies an object, whatever was there before.
    pub async fn apply(&mut self, object: &Value) -> anyhow::Result<()> {
        let path = format!("{}?fieldManager=tests&force=true", path_of(object)?);
        let body = serde_json::to_vec(object)?;
        let (status, answer) = self.ask(Method::PATCH, &path, "application/apply-patch+yaml", body).await?;
        ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// How many objects there are of a collection (`/apis/apps/v1/statefulsets`).
    pub async fn count(&mut self, collection: &str) -> anyhow::Result<u64> {
        let path = format!("{collection}?limit=1");
        let (status, answer) = self.ask(Method::GET, &path, "application/json", Vec::new()).await?;
        ensure!(status.is_success(), "{path}: {status}");
        let list: Value = serde_json::from_slice(&answer)?;
        let first = list["items"].as_array().map_or(0, Vec::len) as u64;
        Ok(first + list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0))
    }
}

/// Where an object lies: the plural of its kind is what Kubernetes makes of it.
fn path_of(object: &Value) -> anyhow::Result<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (version, kind) = text("/apiVersion").zip(text("/kind")).context("an object has a kind")?;
    let name = text("/metadata/name").context("an object has a name")?;
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let plural = match kind.to_lowercase() {
        kind if kind.ends_with('y') => format!("{}ies", &kind[..kind.len() - 1]),
        kind if kind.ends_with('s') => format!("{kind}es"),
        kind => format!("{kind}s"),
    };
    Ok(match text("/metadata/namespace") {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{root}/{plural}/{name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_found_where_kubernetes_puts_it() {
        let object = |version: &str, kind: &str, namespace: Option<&str>| {
            let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}});
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = json!(namespace);
            }
            path_of(&object).unwrap()
        };
        assert_eq!(object("v1", "Namespace", None), "/api/v1/namespaces/a");
        assert_eq!(
            object("networking.k8s.io/v1", "NetworkPolicy", Some("n")),
            "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/a"
        );
        assert_eq!(object("apps/v1", "StatefulSet", Some("n")), "/apis/apps/v1/namespaces/n/statefulsets/a");
    }
}
