//! Stands for the SCs of a simulated fleet. Its pods are rows in the API server and nothing runs in them, so nobody
//! would answer the provisioner, and no cluster would ever be more than `creating`. This one listener has the
//! addresses of all Services, in the node's own network. It answers as each SC would: with the identity that the
//! cluster's pods mount, to nobody without a certificate of the cluster's internal CA. It takes settings and says that
//! they are in force; it stores no record, and no client can use it.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use tokio_rustls::LazyConfigAcceptor;
use uuid::Uuid;

use crate::api_server::{ApiServer, Line};
use crate::wait::within;

/// Where the provisioner meets an SC.
const PORT: u16 = 9020;
/// What one exchange may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// One cluster's server.
struct Sc {
    tls: Arc<ServerConfig>,
    /// What the settings that it took say of its SPUs, and their generation.
    health: Mutex<Value>,
}

/// All of them.
pub struct Servers {
    known: Mutex<HashMap<String, Arc<Sc>>>,
    api: ApiServer,
    /// Identities are read one after the other, as they are asked for.
    source: tokio::sync::Mutex<(Option<Line>, PgConnection)>,
    asked: AtomicU64,
}

impl Servers {
    /// Listens in the network of the node whose first process this is, at every address of `services`.
    pub async fn start(
        node: i32,
        services: &str,
        api: ApiServer,
        database: PgConnection,
    ) -> anyhow::Result<Arc<Servers>> {
        let route = ["--net", "ip", "route", "add", "local", services, "dev", "lo"];
        let output = Command::new("nsenter").args(["--target", &node.to_string()]).args(route).output()?;
        ensure!(output.status.success(), "ip route: {}", String::from_utf8_lossy(&output.stderr));
        let listener = tokio::net::TcpListener::from_std(listen_in(node)?)?;
        let source = tokio::sync::Mutex::new((None, database));
        let servers = Arc::new(Servers { known: Mutex::default(), api, source, asked: AtomicU64::new(0) });
        let all = servers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let all = all.clone();
                // A client that is not let in, or hangs up, is its own business.
                tokio::spawn(async move { within("an exchange", LIMIT, all.serve(stream)).await });
            }
        });
        Ok(servers)
    }

    /// Times that one of them was asked how it is.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    async fn serve(&self, stream: tokio::net::TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = hello.client_hello().server_name().unwrap_or_default().to_string();
        let sc = self.of(&name).await.inspect_err(|error| eprintln!("simulated SC {name}: {error:#}"))?;
        let stream = hello.into_stream(sc.tls.clone()).await?;
        let answer = service_fn(|request| async { anyhow::Ok(self.answer(&sc, request).await?) });
        hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), answer)
            .await?;
        Ok(())
    }

    async fn answer(&self, sc: &Sc, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let taken = match (request.method().clone(), request.uri().path()) {
            (Method::PUT, "/v1/settings") => {
                let body = request.into_body().collect().await?.to_bytes();
                let settings: Value = serde_json::from_slice(&body)?;
                *sc.health() = health_after(&settings);
                json!({})
            }
            (Method::GET, "/v1/health") => {
                self.asked.fetch_add(1, Relaxed);
                sc.health().clone()
            }
            _ => return Ok(response(StatusCode::NOT_FOUND, &json!({}))),
        };
        Ok(response(StatusCode::OK, &taken))
    }

    /// The server of this name in its certificate, `internal.<domain>`.
    async fn of(&self, name: &str) -> anyhow::Result<Arc<Sc>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sc) = known().get(name) {
            return Ok(sc.clone());
        }
        let domain = name.strip_prefix("internal.").context("no internal name")?;
        let mut source = self.source.lock().await;
        let (line, database) = &mut *source;
        let row = sqlx::query("SELECT id FROM clusters WHERE domain = $1").bind(domain);
        let cluster: Uuid = row.fetch_one(database).await?.get(0);
        // The API server hangs up on a connection that says nothing for half a minute.
        let mut open = match line.take() {
            Some(line) if line.is_open() => line,
            _ => self.api.line().await?,
        };
        let tls = Arc::new(identity(&mut open, cluster).await?);
        *line = Some(open);
        let health = Mutex::new(json!({"ready": false, "reason": "no settings yet", "generation": 0}));
        let sc = Arc::new(Sc { tls, health });
        known().insert(name.to_string(), sc.clone());
        Ok(sc)
    }
}

impl Sc {
    fn health(&self) -> std::sync::MutexGuard<'_, Value> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket stays in the network in which it was made; the thread that made it is gone afterwards.
fn listen_in(node: i32) -> anyhow::Result<TcpListener> {
    let thread = std::thread::spawn(move || {
        let network = std::fs::File::open(Path::new("/proc").join(node.to_string()).join("ns/net"))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network))?;
        let listener = TcpListener::bind(("0.0.0.0", PORT))?;
        listener.set_nonblocking(true)?;
        anyhow::Ok(listener)
    });
    thread.join().map_err(|_| anyhow::anyhow!("the thread that listens panicked"))?
}

/// The identity that a cluster's pods mount, as the API server has it.
async fn identity(line: &mut Line, cluster: Uuid) -> anyhow::Result<ServerConfig> {
    let namespace = format!("fluvio-{}", cluster.simple());
    let path = format!("/api/v1/namespaces/{namespace}/secrets?labelSelector=fluvio-cloud%2Fuse%3Dinternal");
    let (status, body) = line.ask(Method::GET, &path, "application/json", Vec::new()).await?;
    ensure!(status.is_success(), "{path}: {status}");
    let list: Value = serde_json::from_slice(&body)?;
    let part = |name: &str| -> anyhow::Result<Vec<u8>> {
        let text = list["items"][0]["data"][name].as_str().with_context(|| format!("no {name}"))?;
        Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&part("ca.crt")?) {
        roots.add(certificate?)?;
    }
    let chain = CertificateDer::pem_slice_iter(&part("tls.crt")?).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&part("tls.key")?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    // Thousands of them are in memory, and nobody comes back by a ticket.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Every SPU that the settings name is there at once, and holds nothing.
fn health_after(settings: &Value) -> Value {
    let spus = settings["spus"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|spu| json!({"id": spu["id"], "name": spu["name"], "online": true, "replicas": 0}));
    json!({
        "ready": true,
        "generation": settings["generation"],
        "spus": spus.collect::<Vec<_>>(),
        "partitions": 0,
        "storage_bytes": 0,
    })
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
}
