//! The SC's control requests, from the provisioner's side.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_settings::{Settings, oldest_version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

/// A running SC answers in milliseconds; a push waits for its disk.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A server that is there takes a connection in less than a millisecond; who waits for one that is not, waits in vain.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
/// An answer is a small document; a tenant's process may try to send more.
const MAX_ANSWER: usize = 256 * 1024;

/// `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Health {
    /// A client could use the cluster.
    pub ready: bool,
    /// Why not.
    #[serde(default)]
    pub reason: String,
    /// Generation of the settings in force; 0 without any.
    #[serde(default)]
    pub generation: u64,
    /// The SPUs that the settings name.
    #[serde(default)]
    pub spus: Vec<SpuHealth>,
    /// Partitions.
    #[serde(default)]
    pub partitions: u64,
    /// Bytes of log.
    #[serde(default)]
    pub storage_bytes: u64,
}

/// One SPU as the SC sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SpuHealth {
    /// Its id.
    pub id: i32,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Whether it is there.
    pub online: bool,
    /// Partitions of which it holds a copy.
    #[serde(default)]
    pub replicas: Option<u64>,
}

impl Health {
    /// SPUs that are there.
    pub fn online(&self) -> usize {
        self.spus.iter().filter(|spu| spu.online).count()
    }
}

/// Why the SC did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not listen yet, or no more, or is too slow: later.
    #[error("no answer from the SC: {0}")]
    Away(String),
    /// Whoever listens there is not the process that was started; nothing was sent.
    #[error("another process (pid {found:?}) listens on the SC's control socket, expected pid {expected}")]
    Stranger {
        /// The SC.
        expected: i32,
        /// The listener.
        found: Option<i32>,
    },
    /// It has newer settings.
    #[error("the SC has settings of a newer generation")]
    Newer,
    /// It does not take these settings.
    #[error("the SC refuses: {0}")]
    Refused(String),
}

/// The way to an SC.
pub enum Control<'a> {
    /// A socket of this machine, and the process that must be behind it. The socket lies in the tenant's
    /// folder: without this comparison, a tenant could lead the provisioner, and the key in the settings, to
    /// any socket of the machine.
    Socket {
        /// The socket.
        path: &'a Path,
        /// The SC.
        pid: i32,
    },
    /// An address of the network; both ends show a certificate of the cluster's internal CA.
    Tls {
        /// Where it listens.
        address: SocketAddr,
        /// The name in its certificate.
        name: &'a str,
        /// Who we are.
        identity: &'a ControlIdentity,
    },
}

/// The provisioner's identity towards one cluster's SC: DER.
#[derive(Clone)]
pub struct ControlIdentity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key, PKCS#8.
    pub key: Vec<u8>,
    /// The CA that both certificates are of.
    pub ca: CertificateDer<'static>,
}

impl ControlIdentity {
    /// Reads it from PEM.
    pub fn from_pem(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, String> {
        let read = |error: rustls::pki_types::pem::Error| error.to_string();
        Ok(Self {
            certificate: CertificateDer::from_pem_slice(certificate).map_err(read)?,
            key: PrivatePkcs8KeyDer::from_pem_slice(key).map_err(read)?.secret_pkcs8_der().to_vec(),
            ca: CertificateDer::from_pem_slice(ca).map_err(read)?,
        })
    }

    fn tls(&self) -> Result<TlsConnector, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.certificate.clone()], key)?;
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Control<'_> {
    /// Gives the SC its settings; returns once they are kept and in force. An SC of a release before rates gets them
    /// without: that nobody is slowed down harms less than that nobody is revoked.
    pub async fn push(&self, settings: &Settings) -> Result<(), ControlError> {
        match self.put(settings).await {
            Err(ControlError::Refused(why)) if settings.limits.are_of_version_3() => {
                tracing::warn!(cluster = %settings.cluster, %why, "pushing the settings again without rates");
                let limits = settings.limits.without_rates();
                let version = oldest_version(&settings.access, &limits);
                self.put(&Settings { version, limits, ..settings.clone() }).await
            }
            outcome => outcome,
        }
    }

    async fn put(&self, settings: &Settings) -> Result<(), ControlError> {
        let body = serde_json::to_vec(settings).map_err(|error| ControlError::Refused(error.to_string()))?;
        let request = Request::put("/v1/settings").header("content-type", "application/json");
        let (status, answer) = self.send(request, body).await?;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => Err(ControlError::Newer),
            StatusCode::SERVICE_UNAVAILABLE => Err(ControlError::Away("busy".into())),
            status => Err(ControlError::Refused(format!("{status}: {}", String::from_utf8_lossy(&answer)))),
        }
    }

    /// Asks the SC how it is.
    pub async fn health(&self) -> Result<Health, ControlError> {
        let (status, answer) = self.send(Request::get("/v1/health"), Vec::new()).await?;
        match status {
            StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => serde_json::from_slice(&answer)
                .map_err(|error| ControlError::Refused(format!("its health is not readable: {error}"))),
            status => Err(ControlError::Refused(format!("health answered {status}"))),
        }
    }

    async fn send(&self, request: Builder, body: Vec<u8>) -> Result<(StatusCode, Bytes), ControlError> {
        let exchange = async {
            match self {
                Control::Socket { path, pid } => {
                    let stream = UnixStream::connect(path).await.map_err(away)?;
                    let found = stream.peer_cred().map_err(away)?.pid();
                    if found != Some(*pid) {
                        return Err(ControlError::Stranger { expected: *pid, found });
                    }
                    exchange(stream, request, body).await
                }
                Control::Tls { address, name, identity } => {
                    let refused = |error: &dyn std::fmt::Display| ControlError::Refused(error.to_string());
                    let tls = identity.tls().map_err(|error| refused(&error))?;
                    let name = ServerName::try_from((*name).to_owned()).map_err(|error| refused(&error))?;
                    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
                    let stream = stream.map_err(away)?.map_err(away)?;
                    // A small request and a small answer: waiting to send more at once only costs time.
                    stream.set_nodelay(true).map_err(away)?;
                    exchange(tls.connect(name, stream).await.map_err(away)?, request, body).await
                }
            }
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(ControlError::Away(format!("nothing within {TIMEOUT:?}"))),
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Builder,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), ControlError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(away)?;
    let request = request.header("host", "sc").body(Full::new(Bytes::from(body))).map_err(away)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(away)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(away)?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end in the same moment as the answer is whole.
        _ = &mut connection => answer.await,
    }
}

fn away(error: impl std::fmt::Display) -> ControlError {
    ControlError::Away(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// A listener that gives everybody the same answer, in a folder that lasts as long as it.
    fn listener(answer: &'static str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (folder, socket)
    }

    /// An SC of a release before rates, which cannot read them; and what it was given in the end.
    fn older_sc() -> (tempfile::TempDir, std::path::PathBuf, tokio::sync::mpsc::UnboundedReceiver<Settings>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (taken, takes) = tokio::sync::mpsc::unbounded_channel();
        let put_settings = async move |body: Bytes| {
            let settings: Settings = serde_json::from_slice(&body).unwrap();
            if settings.version > 2 {
                return (StatusCode::BAD_REQUEST, "not a settings document: unknown field `rates`");
            }
            taken.send(settings).unwrap();
            (StatusCode::NO_CONTENT, "")
        };
        let app = axum::Router::new().route("/v1/settings", axum::routing::put(put_settings));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (folder, socket, takes)
    }

    fn own_pid() -> i32 {
        std::process::id().cast_signed()
    }

    #[tokio::test]
    async fn nothing_is_said_to_another_process_behind_the_socket() {
        let (_folder, socket) = listener("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"ready\":true}");
        let health = Control::Socket { path: &socket, pid: own_pid() }.health().await.unwrap();
        assert!(health.ready);
        let stranger = Control::Socket { path: &socket, pid: own_pid() + 1 }.health().await;
        assert!(matches!(stranger, Err(ControlError::Stranger { .. })), "{stranger:?}");
    }

    #[tokio::test]
    async fn no_answer_of_a_tenants_process_is_trusted_to_be_one() {
        for answer in [
            "",
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}{",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull",
            "HTTP/1.1 200 OK\r\ncontent-length: 900000000000\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ] {
            let (_folder, socket) = listener(answer);
            let health = Control::Socket { path: &socket, pid: own_pid() }.health().await;
            assert!(health.is_err(), "{answer:?}: {health:?}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_yet_means_later() {
        let health =
            Control::Socket { path: Path::new("/nonexistent/control.sock"), pid: own_pid() }.health().await;
        assert!(matches!(health, Err(ControlError::Away(_))), "{health:?}");
    }

    fn settings(limits: &str) -> Settings {
        let limits =
            format!(r#"{{"storage_bytes":1,"partitions":1,"connections":1,"message_bytes":1{limits}}}"#);
        let text = format!(
            r#"{{"version":3,"generation":7,"tenant":"{0}","cluster":"{0}","domain":"a.b","spus":[],
                "public_endpoint":{{"host":"a","port":1}},"durability":"disk",
                "access":{{"entries":[],"revoked_serials":["a1"]}},"limits":{limits}}}"#,
            uuid::Uuid::nil()
        );
        serde_json::from_str(&text).unwrap()
    }

    #[tokio::test]
    async fn an_sc_of_a_release_before_rates_gets_everything_else() {
        let (_folder, socket, mut takes) = older_sc();
        let sc = Control::Socket { path: &socket, pid: own_pid() };
        sc.push(&settings(r#","principal_rates":{"requests_per_second":9}"#)).await.unwrap();
        assert_eq!(takes.recv().await.unwrap(), Settings { version: 1, ..settings("") });
    }
}
