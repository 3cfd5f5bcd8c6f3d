//! The SC's control socket, from the provisioner's side.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cluster_settings::Settings;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// A running SC answers in milliseconds; a push waits for its disk.
const TIMEOUT: Duration = Duration::from_secs(3);
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
    /// Whether it is there.
    pub online: bool,
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

/// A control socket, and the process that must be behind it.
#[derive(Debug, Clone, Copy)]
pub struct Control<'a> {
    /// The socket.
    pub socket: &'a Path,
    /// The SC. The socket lies in the tenant's folder: without this comparison, a tenant could lead the
    /// provisioner, and the key in the settings, to any socket of the machine.
    pub pid: i32,
}

impl Control<'_> {
    /// Gives the SC its settings; returns once they are kept and in force.
    pub async fn push(&self, settings: &Settings) -> Result<(), ControlError> {
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

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), ControlError> {
        let exchange = async {
            let stream = UnixStream::connect(self.socket).await.map_err(away)?;
            let found = stream.peer_cred().map_err(away)?.pid();
            if found != Some(self.pid) {
                return Err(ControlError::Stranger { expected: self.pid, found });
            }
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
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(ControlError::Away(format!("nothing within {TIMEOUT:?}"))),
        }
    }
}

fn away(error: impl std::fmt::Display) -> ControlError {
    ControlError::Away(error.to_string())
}
