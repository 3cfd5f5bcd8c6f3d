//! From a listener to a served connection: PROXY header, TLS, certificate, access, place.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::limit::{Admission, Full};
use super::proxy::{ProxyError, read_header};
use super::requests::{End, Requests, Service};
use super::transport::Transport;
use super::{ConnectionLimit, Listener, Outbox, Session};
use crate::access::{Credential, CredentialError, Policy, PolicyWatch, Refusal};
use crate::tls::ServerName;
use crate::usage::Usage;

/// Handshakes at a time. Strangers share these; a tenant's connections are counted once they are known.
const MAX_HANDSHAKES: usize = 256;
/// How long to leave a listener alone that has no file descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections have to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From the connection to a verified certificate.
    pub handshake: Duration,
    /// For the next bytes of a frame that has begun, and for taking the next bytes of a response.
    pub stall: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(5), stall: Duration::from_secs(30) }
    }
}

/// What the accept loops of one server share.
#[derive(Debug)]
pub struct Server {
    /// Under which name clients ask for it.
    pub name: ServerName,
    /// The settings in force; nobody is let in before there are any.
    pub policy: PolicyWatch,
    /// Shared by all servers of the process.
    pub limit: Arc<ConnectionLimit>,
    /// Shared by all servers of the process.
    pub usage: Arc<Usage>,
    /// How long clients may take.
    pub timing: Timing,
    /// Ends the server and its connections.
    pub stop: CancellationToken,
}

/// Why a connection did not get to its first request.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no settings are in force yet")]
    NoPolicy,
    #[error("the handshake took too long")]
    Timeout,
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("TLS: {0}")]
    Tls(#[from] io::Error),
    #[error("it asks for the server {0:?}")]
    Name(Option<String>),
    #[error("no client certificate")]
    NoCertificate,
    #[error("the settings in force have no identity for TLS")]
    NoIdentity,
    #[error("the settings in force want TLS, and this listener has none")]
    WantsTls,
    #[error("without TLS only this machine is served")]
    NotFromHere,
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Access(#[from] Refusal),
    #[error(transparent)]
    Full(#[from] Full),
}

/// Serves the listeners until the server is stopped, and then waits for its connections to end.
pub async fn serve<S: Service>(listeners: Vec<Listener>, server: Arc<Server>, service: Arc<S>) {
    let tasks = TaskTracker::new();
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    for listener in listeners {
        info!(address = %listener.address(), tcp = ?listener.tcp_address(), name = ?server.name, "listening");
        let accept = AcceptLoop {
            listener,
            server: Arc::clone(&server),
            service: Arc::clone(&service),
            handshakes: Arc::clone(&handshakes),
            tasks: tasks.clone(),
        };
        tasks.spawn(accept.run());
    }
    tasks.close();
    server.stop.cancelled().await;
    if timeout(STOP_GRACE, tasks.wait()).await.is_err() {
        warn!(n_left = tasks.len(), "connections did not end in time");
    }
}

struct AcceptLoop<S> {
    listener: Listener,
    server: Arc<Server>,
    service: Arc<S>,
    handshakes: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl<S: Service> AcceptLoop<S> {
    async fn run(self) {
        loop {
            let accepted = tokio::select! {
                () = self.server.stop.cancelled() => return,
                accepted = self.next() => accepted,
            };
            let Some((socket, peer, handshake)) = accepted else { continue };
            self.server.usage.connections_accepted.add(1);
            let connection = Connection {
                server: Arc::clone(&self.server),
                service: Arc::clone(&self.service),
                behind_proxy: self.listener.behind_proxy(),
                plain: self.listener.address().is_plain(),
            };
            self.tasks.spawn(connection.run(socket, peer, handshake));
        }
    }

    /// The next connection that may begin its handshake; the others wait in the kernel's queue.
    async fn next(&self) -> Option<(Transport, Option<SocketAddr>, OwnedSemaphorePermit)> {
        let handshake = Arc::clone(&self.handshakes).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((socket, peer)) => Some((socket, peer, handshake)),
            Err(error) => {
                warn!(address = %self.listener.address(), %error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

struct Connection<S> {
    server: Arc<Server>,
    service: Arc<S>,
    behind_proxy: bool,
    plain: bool,
}

/// A connection whose client is known.
struct Established<T> {
    socket: T,
    credential: Credential,
    address: Option<SocketAddr>,
    /// Marked seen before the certificate was judged, so that no change falls between.
    policy: PolicyWatch,
    admission: Admission,
}

impl<S: Service> Connection<S> {
    async fn run(self, socket: Transport, peer: Option<SocketAddr>, handshake: OwnedSemaphorePermit) {
        if self.plain {
            let establish = std::future::ready(self.establish_plain(socket, peer));
            if let Some(established) = self.in_time(establish, peer, handshake).await {
                self.serve(established).await;
            }
        } else {
            let establish = Box::pin(self.establish(socket, peer));
            if let Some(established) = self.in_time(establish, peer, handshake).await {
                self.serve(established).await;
            }
        }
    }

    /// A client's way in, for as long as a handshake may take.
    async fn in_time<T>(
        &self,
        establish: impl Future<Output = Result<Established<T>, Refused>>,
        peer: Option<SocketAddr>,
        handshake: OwnedSemaphorePermit,
    ) -> Option<Established<T>> {
        let within = self.server.timing.handshake;
        let established = tokio::select! {
            () = self.server.stop.cancelled() => return None,
            established = timeout(within, establish) => established.unwrap_or(Err(Refused::Timeout)),
        };
        drop(handshake);
        let count = |reason: &Refused| {
            self.server.usage.connections_refused.add(1);
            debug!(?peer, %reason, "connection refused");
        };
        established.inspect_err(count).ok()
    }

    async fn establish(
        &self,
        mut socket: Transport,
        peer: Option<SocketAddr>,
    ) -> Result<Established<TlsStream<Transport>>, Refused> {
        let mut watch = self.server.policy.clone();
        let policy = watch.borrow_and_update().clone().ok_or(Refused::NoPolicy)?;
        let address = if self.behind_proxy { read_header(&mut socket).await? } else { peer };
        let socket = self.handshake(&policy, socket).await?;
        let certificates = socket.get_ref().1.peer_certificates();
        let leaf = certificates.and_then(|chain| chain.first()).ok_or(Refused::NoCertificate)?;
        let credential = Credential::of(leaf)?;
        let admission = self.admit(&policy, &credential)?;
        Ok(Established { socket, credential, address, policy: watch, admission })
    }

    /// Without TLS, where configuration and settings both say so: whoever is on this machine is the one principal.
    fn establish_plain(
        &self,
        socket: Transport,
        peer: Option<SocketAddr>,
    ) -> Result<Established<Transport>, Refused> {
        let mut watch = self.server.policy.clone();
        let policy = watch.borrow_and_update().clone().ok_or(Refused::NoPolicy)?;
        if policy.tls.is_some() {
            return Err(Refused::WantsTls);
        }
        // A machine can be set to route to 127.0.0.0/8 from outside.
        if !peer.is_some_and(|peer| peer.ip().is_loopback()) {
            return Err(Refused::NotFromHere);
        }
        let credential = Credential::local(&policy.settings);
        let admission = self.admit(&policy, &credential)?;
        Ok(Established { socket, credential, address: peer, policy: watch, admission })
    }

    fn admit(&self, policy: &Policy, credential: &Credential) -> Result<Admission, Refused> {
        policy.grant_of(credential, SystemTime::now())?;
        Ok(self.server.limit.admit(policy, credential.principal.id, &self.server.usage)?)
    }

    /// The name is looked at before any key is used.
    async fn handshake(&self, policy: &Policy, socket: Transport) -> Result<TlsStream<Transport>, Refused> {
        let tls = policy.tls.as_ref().ok_or(Refused::NoIdentity)?;
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let asked = start.client_hello().server_name().map(str::to_owned);
        if !self.server.name.answers_to(asked.as_deref(), &policy.settings) {
            return Err(Refused::Name(asked));
        }
        Ok(start.into_stream(tls.config(&self.server.name)).await?)
    }

    async fn serve<T>(&self, established: Established<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Established { socket, credential, address, policy, admission } = established;
        let principal = credential.principal.id;
        let (outbox, outgoing) = Outbox::new();
        let session = Arc::new(Session::new(credential, address, outbox, policy.clone()));
        let (reading, writing) = tokio::io::split(socket);
        let server = &*self.server;
        let pace = admission.pace(policy.clone());
        let mut writer = tokio::spawn(outgoing.write(writing, server.timing.stall, pace.clone()));
        let requests = Requests {
            service: &*self.service,
            session: &session,
            policy,
            usage: &server.usage,
            pace,
            timing: server.timing,
            large_frames: server.limit.large_frames(),
            stop: server.stop.clone(),
        };
        let end = tokio::select! {
            end = Box::pin(requests.run(reading)) => end,
            // The writer ends by itself only when the client takes nothing any more.
            _ = &mut writer => return,
        };
        drop(session);
        match end {
            // The writer says goodbye by itself, now that nobody can send to it. It keeps its place meanwhile, and has
            // an end: a limit of rates could hold back for long what nobody waits for any more.
            End::Client => {
                tokio::select! {
                    () = server.stop.cancelled() => {}
                    _ = timeout(server.timing.stall, &mut writer) => {}
                }
                writer.abort();
            }
            End::Cut(reason) => {
                server.usage.connections_cut.add(1);
                info!(%principal, ?address, %reason, "connection cut");
                writer.abort();
            }
            end => {
                debug!(%principal, ?address, %end, "connection ended");
                writer.abort();
            }
        }
        drop(admission);
    }
}
