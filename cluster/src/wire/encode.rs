//! Encoding responses.

use bytes::{BufMut, Bytes, BytesMut};

use super::request::Header;
use super::schema::Encoder;

/// A response that cannot be put on the wire: a bug, or something too large for one frame.
#[derive(Debug, thiserror::Error)]
#[error("the response cannot be encoded: {0}")]
pub struct EncodeError(pub(super) String);

/// One whole frame, its length included, as the pieces in which it lies in memory.
#[derive(Debug, Clone)]
pub struct Frame {
    head: Bytes,
    body: Vec<Bytes>,
}

impl Frame {
    /// A frame in one piece.
    pub fn whole(bytes: Bytes) -> Self {
        Self { head: bytes, body: Vec::new() }
    }

    /// A frame of a head that was encoded and record batches as they are stored.
    pub fn pieces(head: Bytes, body: Vec<Bytes>) -> Self {
        Self { head, body }
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.iter().map(Bytes::len).sum::<usize>()
    }

    /// Never: every frame has its length at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.head).chain(&self.body)
    }
}

/// Starts a frame: room for the length, then the correlation id.
pub(super) fn start(header: &Header, capacity: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(capacity + 8);
    out.put_i32(0);
    out.put_i32(header.correlation_id);
    out
}

/// Writes the length of a frame begun with [`start`] that `more` bytes will follow.
pub(super) fn finish(mut out: BytesMut, more: usize) -> Result<Bytes, EncodeError> {
    let length =
        i32::try_from(out.len() - 4 + more).map_err(|_| EncodeError("larger than a frame".into()))?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.freeze())
}

pub(super) fn put<T: Encoder>(out: &mut BytesMut, value: &T, version: i16) -> Result<(), EncodeError> {
    value.encode(out, version).map_err(|error| EncodeError(error.to_string()))
}

pub(super) fn put_string(out: &mut BytesMut, text: &str) -> Result<(), EncodeError> {
    // The length is read as an i16 by every client.
    let length = i16::try_from(text.len()).map_err(|_| EncodeError("a string is too long".into()))?;
    out.put_i16(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

/// The response to the request with this header, at the request's version. The length is counted after
/// encoding, since the schema crates' own size forecast is wrong for some types.
pub fn response<T: Encoder>(header: &Header, body: &T) -> Result<Frame, EncodeError> {
    let mut out = start(header, body.write_size(header.version));
    put(&mut out, body, header.version)?;
    finish(out, 0).map(Frame::whole)
}
