//! The listening end.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::private::{BindError, bind, peer_is_trusted};
use super::stream::{Stream, prepare};
use super::{Address, Identity};

/// From a TCP connection to a verified peer that somebody takes.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Connections of which it is not known yet whose they are; more wait in the kernel's queue.
const HANDSHAKES: usize = 64;

/// Verified connections that wait to be taken.
const READY: usize = 16;

/// How long a socket that does not accept is left alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Strangers are written down this often and no oftener.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

/// A bound internal socket; only peers that may use it come out of it.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Unix(UnixListener),
    Tls { address: SocketAddr, ready: mpsc::Receiver<Stream>, _accepting: AbortOnDropHandle<()> },
}

impl Listener {
    /// A socket on this host, for root and the process's own user.
    pub fn unix(path: &Path) -> Result<Self, BindError> {
        bind(path).map(|listener| Self(Kind::Unix(listener)))
    }

    /// A TCP socket for whoever has a certificate of the same internal CA and name.
    pub async fn tls(address: &str, identity: Arc<Identity>) -> Result<Self, BindError> {
        let failed = |reason| BindError { address: Address::Tcp(address.into()), reason };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (sender, ready) = mpsc::channel(READY);
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept_all(listener, identity, sender)));
        Ok(Self(Kind::Tls { address, ready, _accepting: accepting }))
    }

    /// The TCP address that was bound, for a port of 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Unix(_) => None,
            Kind::Tls { address, .. } => Some(*address),
        }
    }

    /// The next connection. Nothing is lost when this is dropped.
    pub async fn accept(&mut self) -> Stream {
        match &mut self.0 {
            Kind::Unix(listener) => Stream::Unix(accept_unix(listener).await),
            Kind::Tls { ready, .. } => match ready.recv().await {
                Some(stream) => stream,
                // The task on the other side ends with the runtime only.
                None => std::future::pending().await,
            },
        }
    }
}

async fn accept_unix(listener: &UnixListener) -> tokio::net::UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if peer_is_trusted(&stream) => return stream,
            Ok(_) => tracing::warn!("a stranger at an internal socket was sent away"),
            Err(error) => {
                tracing::warn!(%error, "an internal socket does not accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_all(listener: TcpListener, identity: Arc<Identity>, ready: mpsc::Sender<Stream>) {
    let mut handshakes = JoinSet::new();
    let mut quiet_until = Instant::now();
    loop {
        tokio::select! {
            accepted = listener.accept(), if handshakes.len() < HANDSHAKES => match accepted {
                Ok((socket, peer)) => {
                    handshakes.spawn(take_in(socket, peer, identity.clone(), ready.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "an internal socket does not accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = handshakes.join_next() => {
                if let Ok(Err((peer, reason))) = ended && Instant::now() >= quiet_until {
                    quiet_until = Instant::now() + COMPLAINT_PAUSE;
                    tracing::warn!(%peer, %reason, "a stranger at an internal socket was sent away");
                }
            }
        }
    }
}

/// From a TCP connection to a peer that is known, or why it is not.
async fn take_in(
    socket: TcpStream,
    peer: SocketAddr,
    identity: Arc<Identity>,
    ready: mpsc::Sender<Stream>,
) -> Result<(), (SocketAddr, io::Error)> {
    let known = async {
        prepare(&socket)?;
        let stream = TlsAcceptor::from(identity.server()).accept(socket).await?;
        // The listener may be gone by now.
        let _ = ready.send(Stream::Tls(Box::new(stream.into()))).await;
        Ok(())
    };
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time"));
    timeout(HANDSHAKE, known).await.unwrap_or_else(late).map_err(|error| (peer, error))
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = Option<SocketAddr>;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        (Listener::accept(self).await, None)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.tcp_address())
    }
}
