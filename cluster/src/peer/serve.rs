//! The answering side.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::message::Ask;
use super::parcel::{Parcel, Parcels, parts};
use crate::internal::{Listener, Stream};

/// A side that hears nothing asks this often whether the other lives, and gives it so long.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(2);
pub(super) const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Bytes under way on a stream, on a connection, and in a frame.
pub(super) const STREAM_WINDOW: u32 = 4 << 20;
pub(super) const CONNECTION_WINDOW: u32 = 32 << 20;
pub(super) const FRAME_BYTES: u32 = 256 << 10;

/// Connections at a time; a cluster has fewer SPUs.
const CONNECTIONS: usize = 512;

/// Streams of one connection: one for each copy that follows, and those that clients wait on.
const STREAMS: u32 = 16_384;

/// How long the first parcel may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The parcels of an answer.
pub type Reply = BoxStream<'static, Bytes>;

/// An answer of one parcel. One that cannot be encoded is none, which the asker takes for a break.
pub fn only<T: Serialize + 'static>(head: &T, payload: Bytes) -> Reply {
    stream::iter(parts(head, payload).into_iter().flatten()).boxed()
}

/// What answers other SPUs.
pub trait Answers: Send + Sync + 'static {
    /// Answers one ask; what comes behind it is still in `behind`.
    fn answer(self: Arc<Self>, ask: Parcel<Ask>, behind: Parcels) -> BoxFuture<'static, Reply>;
}

/// Serves other SPUs until `stop`.
pub async fn serve<A: Answers>(mut listener: Listener, answers: Arc<A>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = listener.accept(), if connections.len() < CONNECTIONS => {
                connections.spawn(one_connection(stream, Arc::clone(&answers)));
            }
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn one_connection<A: Answers>(stream: Stream, answers: Arc<A>) {
    let service = service_fn(move |request| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(respond(answers, request).await) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "the connection of another SPU ended");
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn respond<A: Answers>(answers: Arc<A>, request: Request<Incoming>) -> Response<Body> {
    let mut parcels = Parcels::new(request.into_body());
    let (status, reply) = match timeout(PATIENCE, parcels.next::<Ask>()).await {
        Ok(Ok(Some(ask))) => (StatusCode::OK, answers.answer(ask, parcels).await),
        wrong => {
            tracing::warn!(?wrong, "another SPU asked what is no ask");
            (StatusCode::BAD_REQUEST, stream::empty().boxed())
        }
    };
    let mut response = Response::new(StreamBody::new(reply.map(|bytes| Ok(Frame::data(bytes))).boxed()));
    *response.status_mut() = status;
    response
}
