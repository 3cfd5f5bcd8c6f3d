//! Asks the SC, over its control socket.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use cluster_settings::Settings;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The SC itself waits five seconds for its SPUs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer that is read.
const ANSWER_BYTES: usize = 1 << 20;

/// The control socket of the local cluster.
pub struct Control {
    socket: PathBuf,
}

/// What the SC says of the cluster.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Health {
    /// A client could use it.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Of the settings in force; 0 without any.
    #[serde(default)]
    pub generation: u64,
    /// Its SPUs.
    #[serde(default)]
    pub spus: Vec<SpuHealth>,
    /// Topics, the system's not counted.
    #[serde(default)]
    pub topics: u64,
    /// Their partitions.
    #[serde(default)]
    pub partitions: u64,
}

/// One SPU as the SC sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct SpuHealth {
    /// Its name.
    pub name: String,
    /// Whether the SC hears from it.
    pub online: bool,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It may answer later.
    #[error("the SC does not answer: {0}")]
    Away(String),
    /// It will say the same again.
    #[error("the SC refuses: {0}")]
    Refused(String),
}

impl Control {
    /// Of the SC behind this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// How the cluster is.
    pub async fn health(&self) -> Result<Health, ControlError> {
        let (_, body) = self.ask(Method::GET, "/v1/health", Vec::new()).await?;
        serde_json::from_slice(&body).map_err(|error| ControlError::Away(error.to_string()))
    }

    /// Puts settings in force, on the SC and on the SPUs that are there.
    pub async fn push(&self, settings: &Settings) -> Result<(), ControlError> {
        #[derive(Deserialize)]
        struct Problem {
            error: String,
        }

        let body = serde_json::to_vec(settings).map_err(|error| ControlError::Refused(error.to_string()))?;
        let (status, body) = self.ask(Method::PUT, "/v1/settings", body).await?;
        let problem = || match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => problem.error,
            Err(_) => status.to_string(),
        };
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_client_error() => Err(ControlError::Refused(problem())),
            _ => Err(ControlError::Away(problem())),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), ControlError> {
        let away = |error: &dyn std::fmt::Display| ControlError::Away(error.to_string());
        let asking = async {
            let socket = UnixStream::connect(&self.socket).await.map_err(|error| away(&error))?;
            let shaken = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
            let (mut sender, connection) = shaken.map_err(|error| away(&error))?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "control")
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| away(&error))?;
            let answering = async {
                let (parts, body) =
                    sender.send_request(request).await.map_err(|error| away(&error))?.into_parts();
                let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| away(&error))?;
                Ok((parts.status, body.to_bytes()))
            };
            tokio::pin!(answering);
            tokio::select! {
                answer = &mut answering => answer,
                // It ends with what was asked, or because the other side has.
                _ = connection => answering.await,
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(ControlError::Away("not in time".into())))
    }
}
