//! Plain HTTP for whoever can reach the port: whether the process lives, whether it serves, and its numbers.
//! Nothing can be changed here and nothing of a tenant's data is shown.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::metrics;
use crate::access::PolicyWatch;
use crate::link::SpuLink;
use crate::sc::Sc;
use crate::usage::Usage;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// One connection is one request, and that takes no longer.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);

/// For a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(5);

/// Longest head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// How long a socket that does not accept is left alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server that has started knows of itself.
pub enum Facts {
    /// An SC: it serves once it listens.
    Sc(Sc),
    /// An SPU: it serves while the SC has it registered and it has settings in force.
    Spu {
        /// To the SC.
        link: SpuLink,
        /// The settings in force.
        policy: PolicyWatch,
    },
}

/// Answers from the start of the process to its end.
pub struct Probe {
    address: SocketAddr,
    asked: Arc<Asked>,
    _serving: AbortOnDropHandle<()>,
}

struct Asked {
    usage: Arc<Usage>,
    facts: OnceLock<Facts>,
    stop: CancellationToken,
}

impl Probe {
    /// Listens. The process lives from now on, and is ready when it has [`Probe::started`], until `stop`.
    pub async fn listen(address: &str, usage: Arc<Usage>, stop: CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Asked { usage, facts: OnceLock::new(), stop });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, routes(asked.clone()))));
        Ok(Self { address, asked, _serving: serving })
    }

    /// The address that was bound, for a port of 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server listens.
    pub fn started(&self, facts: Facts) {
        if self.asked.facts.set(facts).is_err() {
            tracing::error!("a server started twice");
        }
    }
}

fn routes(asked: Arc<Asked>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(get_metrics))
        .with_state(asked)
}

async fn readyz(Shared(asked): Shared<Arc<Asked>>) -> Response {
    match asked.not_ready() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn get_metrics(Shared(asked): Shared<Arc<Asked>>) -> Response {
    let mut text = metrics::of_process(&asked.usage);
    if let Some(Facts::Sc(sc)) = asked.facts.get() {
        let state = sc.state().borrow().clone();
        text.push_str(&metrics::of_cluster(&state));
    }
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

impl Asked {
    fn not_ready(&self) -> Option<&'static str> {
        // First of all, so that nobody is sent here any more while what is under way is finished.
        if self.stop.is_cancelled() {
            return Some("stopping");
        }
        match self.facts.get() {
            None => Some("starting"),
            Some(Facts::Sc(_)) => None,
            Some(Facts::Spu { policy, .. }) if policy.borrow().is_none() => Some("no settings yet"),
            Some(Facts::Spu { link, .. }) if link.registered().borrow().is_none() => {
                Some("not registered with the SC")
            }
            Some(Facts::Spu { .. }) => None,
        }
    }
}

async fn serve(listener: TcpListener, routes: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((socket, _)) => { connections.spawn(timeout(CONNECTION_PATIENCE, answer(socket, routes.clone()))); }
                Err(error) => {
                    tracing::warn!(%error, "the probe's socket does not accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(socket: TcpStream, routes: Router) {
    let answered = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes))
        .await;
    if let Err(error) = answered {
        tracing::debug!(%error, "a probe was not answered");
    }
}

#[cfg(test)]
mod tests;
