//! The accept loop: bounded connections, bounded time for a request's head, TLS where configured, and a stop
//! that lets requests under way finish.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::{self, App};
use crate::config::ServeConfig;
use crate::edge::address::Peer;
use crate::{routes, tls};

/// Connections at once; the next ones wait in the system's queue.
const MOST_CONNECTIONS: usize = 4_096;
/// A request's head must be there by then, so that half-open connections do not pile up.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// A TLS handshake must be done by then.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// At a stop, requests under way get this long.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// After a failed accept (no file descriptors, say) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// `portal serve`.
pub async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let stopping = CancellationToken::new();
    let acceptor = config.tls.as_ref().map(|tls| tls::acceptor(tls, stopping.clone())).transpose()?;
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let address_file = config.address_file.clone();
    let app = app::build(config, stopping.clone()).await?;
    let router = routes::all(app.clone());
    if let Some(file) = address_file {
        publish_address(&file, address)?;
    }
    tracing::info!("the portal listens on {address}, its public address is {}", app.config.public_url);
    tokio::spawn(stop_on_signal(app.clone())?);
    accept_until_stopped(listener, acceptor, router, &stopping).await;
    app.pool.close().await;
    Ok(())
}

/// Says at once that this portal is not ready, and stops after the time that the ones in front need to hear of it.
/// A second signal ends the wait.
fn stop_on_signal(app: App) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        app.draining.cancel();
        let drained = tokio::time::sleep(Duration::from_secs(app.config.drain_seconds.into()));
        tokio::select! { () = drained => {}, _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping");
        app.stopping.cancel();
    })
}

async fn accept_until_stopped(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stopping: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let (router, acceptor, watcher) = (router.clone(), acceptor.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => speak(stream, peer, router, watcher).await,
                Some(acceptor) => {
                    let shaken = timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        speak(stream, peer, router, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    if timeout(STOP_PATIENCE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the portal stopped");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            tracing::warn!("cannot accept a connection: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn speak<S>(stream: S, peer: SocketAddr, router: Router, watcher: hyper_util::server::graceful::Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.map(Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(64)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("connection from {peer}: {error}");
    }
}

/// Whoever waits for the file sees it whole or not at all.
fn publish_address(file: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, address.to_string())
        .and_then(|()| std::fs::rename(&partial, file))
        .with_context(|| format!("write {}", file.display()))
}
