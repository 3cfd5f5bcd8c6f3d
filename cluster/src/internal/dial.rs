//! The dialling end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::identity::Identity;
use super::stream::{Stream, prepare};

/// From looking up the name to a verified peer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to dial, and as whom.
#[derive(Debug, Clone)]
pub enum Dialler {
    /// A socket on this host.
    Unix(PathBuf),
    /// A server that has a certificate of the same internal CA and name.
    Tls {
        /// Host and port; the host is looked up each time.
        address: String,
        /// As whom.
        identity: Arc<Identity>,
    },
}

impl Dialler {
    /// A new connection.
    pub async fn dial(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            Self::Tls { address, identity } => timeout(PATIENCE, over_tls(address, identity))
                .await
                .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers there"))),
        }
    }
}

async fn over_tls(address: &str, identity: &Identity) -> io::Result<Stream> {
    let socket = TcpStream::connect(address).await?;
    prepare(&socket)?;
    let stream = TlsConnector::from(identity.client()).connect(identity.name(), socket).await?;
    Ok(Stream::Tls(Box::new(stream.into())))
}
