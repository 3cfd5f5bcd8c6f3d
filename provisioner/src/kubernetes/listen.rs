//! `/livez`, `/readyz` and `/metrics`, over plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;

use super::pass::Ground;
use super::watch::WATCHES;

/// A request and its answer are small.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at the same time.
const CONNECTIONS: usize = 16;

/// Begins to listen.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers for ever.
pub async fn listen(listener: TcpListener, ground: Arc<Ground>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let ground = Arc::clone(&ground);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&ground, request.uri().path());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(TIMEOUT, connection).await;
            drop(place);
        });
    }
}

fn answer(ground: &Ground, path: &str) -> Response<Full<Bytes>> {
    let (status, kind, body) = match path {
        "/livez" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" if ground.fleet.is_synced(&WATCHES) => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => {
            (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "has not seen the API server yet\n".to_owned())
        }
        "/metrics" => {
            let (known, held, waiting) = ground.fleet.counts();
            let gauges = [
                ("provisioner_clusters_known", "Clusters of the region.", known),
                ("provisioner_clusters_held", "Clusters that this provisioner works on.", held),
                ("provisioner_clusters_waiting", "Clusters that wait for their turn.", waiting),
            ];
            (StatusCode::OK, "text/plain; version=0.0.4", ground.counters.text(&gauges))
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
