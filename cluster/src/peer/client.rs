//! The asking side: one connection to each other SPU, made when it is needed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

use super::message::Ask;
use super::parcel::{Parcel, ParcelError, Parcels, parts};
use super::serve::{ALIVE_EVERY, ALIVE_WITHIN, CONNECTION_WINDOW, FRAME_BYTES, STREAM_WINDOW};
use crate::internal::{Address, Dialler, Identity};

/// From dialling to a connection that takes requests.
const PATIENCE: Duration = Duration::from_secs(5);

/// From asking to one answer: longer than what is asked for may take, and than any client waits.
const ANSWER: Duration = Duration::from_secs(75);

/// What a request's body is made of.
type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, ParcelError>>>;

/// Why an SPU did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It was never asked: asking again elsewhere does nothing twice.
    #[error("SPU {spu} cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        spu: i32,
        /// Why.
        reason: String,
    },
    /// It may have done what it was asked.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
}

/// What comes back.
pub type Replies = Parcels;

/// The other SPUs.
#[derive(Debug)]
pub struct Peers {
    addresses: watch::Receiver<Arc<BTreeMap<i32, String>>>,
    identity: Option<Arc<Identity>>,
    open: Mutex<HashMap<i32, (String, SendRequest<Body>)>>,
}

impl Peers {
    /// For the addresses that the SC tells.
    pub fn new(
        addresses: watch::Receiver<Arc<BTreeMap<i32, String>>>,
        identity: Option<Arc<Identity>>,
    ) -> Self {
        Self { addresses, identity, open: Mutex::default() }
    }

    /// Asks, with a payload behind the ask, and more parcels behind that for as long as `behind` has some.
    pub async fn ask(
        &self,
        spu: i32,
        ask: &Ask,
        payload: Bytes,
        behind: impl futures_util::Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Replies, PeerError> {
        let mut connection = self.connection(spu).await?;
        let first = futures_util::stream::iter(parts(ask, payload)?);
        let body = first.chain(behind).map(|bytes| Ok(Frame::data(bytes))).boxed();
        let request = Request::builder().method(Method::POST).uri("http://spu/").body(StreamBody::new(body));
        let request = request.map_err(|error| unreachable(spu, &error))?;
        let response = connection.send_request(request).await.map_err(|error| {
            self.forget(spu);
            // What was never handed to the connection was never asked.
            if error.is_canceled() { unreachable(spu, &error) } else { ParcelError::from(error).into() }
        })?;
        if response.status() != StatusCode::OK {
            return Err(unreachable(spu, &format!("it answered {}", response.status())));
        }
        Ok(Parcels::new(response.into_body()))
    }

    /// Asks what has one answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        spu: i32,
        ask: &Ask,
        payload: Bytes,
    ) -> Result<Parcel<T>, PeerError> {
        let answer = async {
            let mut replies = self.ask(spu, ask, payload, futures_util::stream::empty()).await?;
            Ok(replies.next().await?.ok_or(ParcelError::Cut)?)
        };
        timeout(ANSWER, answer).await.unwrap_or(Err(ParcelError::Late.into()))
    }

    async fn connection(&self, spu: i32) -> Result<SendRequest<Body>, PeerError> {
        let address = self.addresses.borrow().get(&spu).cloned();
        let address = address.ok_or_else(|| unreachable(spu, &"its address is not known yet"))?;
        let known = self.open().get(&spu).filter(|(at, _)| *at == address).map(|(_, open)| open.clone());
        if let Some(open) = known.filter(|open| !open.is_closed()) {
            return Ok(open);
        }
        let opened = timeout(PATIENCE, self.open_to(&address)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let opened = opened.map_err(|error| unreachable(spu, &error))?;
        self.open().insert(spu, (address, opened.clone()));
        Ok(opened)
    }

    async fn open_to(&self, address: &str) -> io::Result<SendRequest<Body>> {
        let dialler = match address.parse().map_err(io::Error::other)? {
            Address::Unix(path) => Dialler::Unix(path),
            Address::Tcp(address) => {
                let identity = self.identity.clone();
                let identity =
                    identity.ok_or_else(|| io::Error::other("the section [internal] is missing"))?;
                Dialler::Tls { address, identity }
            }
        };
        let stream = TokioIo::new(dialler.dial().await?);
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_BYTES)
            .keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(ALIVE_WITHIN)
            .handshake(stream);
        let (open, connection) = handshake.await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to another SPU ended");
            }
        });
        Ok(open)
    }

    fn forget(&self, spu: i32) {
        self.open().remove(&spu);
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<i32, (String, SendRequest<Body>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreachable(spu: i32, reason: &dyn std::fmt::Display) -> PeerError {
    PeerError::Unreachable { spu, reason: reason.to_string() }
}
