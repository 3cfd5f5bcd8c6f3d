//! Parcels: a head in JSON and bytes that nobody between disk and socket looks at.
//!
//! ```text
//! byte  0  head length     u32   at most 64 KiB
//!       4  payload length  u32   at most 128 MiB
//!       8  head                  one JSON value
//!          payload
//! ```
//! Numbers are big endian.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

const PREFIX: usize = 8;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A producer's request may be this large.
const PAYLOAD_BYTES_MAX: usize = 128 << 20;

/// One parcel.
#[derive(Debug)]
pub struct Parcel<T> {
    /// What it is.
    pub head: T,
    /// What it carries.
    pub payload: Bytes,
}

/// No further parcel comes.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// The connection or the stream broke.
    #[error("the other SPU is gone: {0}")]
    Broken(#[from] hyper::Error),
    /// Nothing came in time.
    #[error("the other SPU did not answer in time")]
    Late,
    /// The stream ended within a parcel, or before the one that was due.
    #[error("the other SPU ended early")]
    Cut,
    /// A length above its bound.
    #[error("a parcel of {0} bytes is not accepted")]
    TooLarge(usize),
    /// Not what belongs here: the other side is another version.
    #[error("not a parcel: {0}")]
    Head(#[from] serde_json::Error),
}

/// The bytes before the payload.
pub fn encode<T: Serialize>(head: &T, payload_bytes: usize) -> Result<Bytes, ParcelError> {
    let json = serde_json::to_vec(head)?;
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| ParcelError::TooLarge(bytes));
    let mut bytes = BytesMut::with_capacity(PREFIX + json.len());
    bytes.put_u32(length(json.len())?);
    bytes.put_u32(length(payload_bytes)?);
    bytes.put_slice(&json);
    Ok(bytes.freeze())
}

/// A parcel as it goes into a body, the payload not copied.
pub fn parts<T: Serialize>(
    head: &T,
    payload: Bytes,
) -> Result<impl Iterator<Item = Bytes> + use<T>, ParcelError> {
    let head = encode(head, payload.len())?;
    Ok([head, payload].into_iter().filter(|part| !part.is_empty()))
}

/// Takes parcels out of a body.
#[derive(Debug)]
pub struct Parcels {
    body: Incoming,
    buffer: BytesMut,
}

impl Parcels {
    /// From the start of a body.
    pub fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next one; `None` if the body ended behind the last. A cancelled call loses nothing.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Parcel<T>>, ParcelError> {
        while self.buffer.len() < PREFIX {
            if !self.more().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ParcelError::Cut) };
            }
        }
        let length = |at: usize| {
            let bytes = self.buffer[at..].first_chunk::<4>().copied().unwrap_or_default();
            usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (head, payload) = (length(0), length(4));
        for (bytes, most) in [(head, HEAD_BYTES_MAX), (payload, PAYLOAD_BYTES_MAX)] {
            if bytes > most {
                return Err(ParcelError::TooLarge(bytes));
            }
        }
        while self.buffer.len() < PREFIX + head + payload {
            if !self.more().await? {
                return Err(ParcelError::Cut);
            }
        }
        let mut whole = self.buffer.split_to(PREFIX + head + payload).freeze();
        let payload = whole.split_off(PREFIX + head);
        Ok(Some(Parcel { head: serde_json::from_slice(&whole[PREFIX..])?, payload }))
    }

    async fn more(&mut self) -> Result<bool, ParcelError> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            if let Ok(data) = frame?.into_data() {
                self.buffer.extend_from_slice(&data);
                return Ok(true);
            }
        }
    }
}
