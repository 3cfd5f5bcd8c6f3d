//! Frames off and onto a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::encode::Frame;

/// Up to this a frame's memory is taken at once; a larger one grows as its bytes arrive, so that announcing
/// 33 MB costs the client 33 MB.
const TRUSTED_LENGTH: usize = 1 << 20;

const BUDGET_UNIT: usize = 1024;

/// Pieces up to this size are gathered into one write, so that a response is one TLS record and one packet.
const GATHERED: usize = 16 * 1024;

/// Why no further frame comes from a connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A length of zero, below zero, or above the cap.
    #[error("a frame of {0} bytes is not accepted")]
    Length(i32),
    /// The peer closed in the middle of a frame.
    #[error("the connection ended within a frame")]
    Cut,
    /// The peer began a frame and then fell silent.
    #[error("the frame did not go on in time")]
    Stalled,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Memory that the large frames of all connections of a process may take together. A connection waits here
/// with its frame still in the socket, so that many producers at once are slow and not fatal.
#[derive(Debug, Clone)]
pub struct FrameBudget {
    room: Arc<Semaphore>,
    n_units: u32,
}

impl FrameBudget {
    /// For this many bytes.
    pub fn new(n_bytes: usize) -> Self {
        let n_units = u32::try_from(n_bytes / BUDGET_UNIT).unwrap_or(u32::MAX);
        Self { room: Arc::new(Semaphore::new(n_units as usize)), n_units }
    }

    /// Room for a frame; small ones need none. A frame larger than the whole budget takes all of it.
    async fn take(&self, length: usize) -> Option<OwnedSemaphorePermit> {
        if length <= TRUSTED_LENGTH {
            return None;
        }
        let units = u32::try_from(length / BUDGET_UNIT).unwrap_or(u32::MAX).min(self.n_units);
        // The semaphore is never closed.
        Arc::clone(&self.room).acquire_many_owned(units).await.ok()
    }
}

/// A frame as it was read.
#[derive(Debug)]
pub struct Received {
    /// What came after the length.
    pub bytes: Bytes,
    /// To be kept while the bytes are.
    pub room: Option<OwnedSemaphorePermit>,
}

/// Reads frames. All state is in here, so a cancelled [`FrameReader::next`] loses nothing; between frames it
/// holds no memory of its own.
#[derive(Debug)]
pub struct FrameReader {
    cap: usize,
    stall: Duration,
    budget: FrameBudget,
    length: [u8; 4],
    n_length: usize,
    room: Option<OwnedSemaphorePermit>,
    body: BytesMut,
}

impl FrameReader {
    /// Takes frames of up to `cap` bytes. Waits as long as it takes for a frame to begin, and `stall` for each
    /// further piece of one.
    pub fn new(cap: usize, stall: Duration, budget: FrameBudget) -> Self {
        Self { cap, stall, budget, length: [0; 4], n_length: 0, room: None, body: BytesMut::new() }
    }

    /// Reads the length of the next frame and nothing more; false when the peer closed between frames.
    pub async fn begin<R: AsyncRead + Unpin>(&mut self, socket: &mut R) -> Result<bool, FrameError> {
        while !self.has_begun() {
            let read = socket.read(&mut self.length[self.n_length..]);
            let n_read = if self.n_length == 0 { read.await? } else { within(self.stall, read).await? };
            if n_read == 0 {
                return if self.n_length == 0 { Ok(false) } else { Err(FrameError::Cut) };
            }
            self.n_length += n_read;
        }
        Ok(true)
    }

    /// Whether the length of the next frame is read.
    pub fn has_begun(&self) -> bool {
        self.n_length == 4
    }

    /// The next frame; `None` when the peer closed between frames.
    pub async fn next<R: AsyncRead + Unpin>(
        &mut self,
        socket: &mut R,
    ) -> Result<Option<Received>, FrameError> {
        let stall = self.stall;
        if !self.begin(socket).await? {
            return Ok(None);
        }
        let length = self.checked_length()?;
        if self.room.is_none() {
            self.room = self.budget.take(length).await;
        }
        while self.body.len() < length {
            self.make_room(length);
            let missing = length - self.body.len();
            let mut room = (&mut self.body).limit(missing);
            if within(stall, socket.read_buf(&mut room)).await? == 0 {
                return Err(FrameError::Cut);
            }
        }
        self.n_length = 0;
        Ok(Some(Received { bytes: std::mem::take(&mut self.body).freeze(), room: self.room.take() }))
    }

    fn checked_length(&self) -> Result<usize, FrameError> {
        let announced = i32::from_be_bytes(self.length);
        match usize::try_from(announced) {
            Ok(length) if length > 0 && length <= self.cap => Ok(length),
            _ => Err(FrameError::Length(announced)),
        }
    }

    fn make_room(&mut self, length: usize) {
        if self.body.len() == self.body.capacity() {
            let step = if self.body.is_empty() { TRUSTED_LENGTH } else { self.body.len() };
            self.body.reserve(step.min(length - self.body.len()));
        }
    }
}

async fn within(
    stall: Duration,
    read: impl Future<Output = std::io::Result<usize>>,
) -> Result<usize, FrameError> {
    Ok(timeout(stall, read).await.map_err(|_| FrameError::Stalled)??)
}

/// Writes frames, gathering small pieces.
#[derive(Debug, Default)]
pub struct FrameWriter {
    gathered: Vec<u8>,
}

impl FrameWriter {
    /// Takes one frame; large pieces go to the socket at once, small ones wait for [`FrameWriter::flush`].
    pub async fn write<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        frame: &Frame,
        stall: Duration,
    ) -> Result<(), FrameError> {
        for part in frame.parts() {
            if self.gathered.len() + part.len() > GATHERED {
                self.send_gathered(socket, stall).await?;
            }
            if part.len() > GATHERED / 2 {
                self.send_gathered(socket, stall).await?;
                write_all(socket, part, stall).await?;
            } else {
                self.gathered.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// Sends what is gathered and gives its memory back.
    pub async fn flush<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        stall: Duration,
    ) -> Result<(), FrameError> {
        self.send_gathered(socket, stall).await?;
        self.gathered = Vec::new();
        timeout(stall, socket.flush()).await.map_err(|_| FrameError::Stalled)??;
        Ok(())
    }

    async fn send_gathered<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        stall: Duration,
    ) -> Result<(), FrameError> {
        write_all(socket, &self.gathered, stall).await?;
        self.gathered.clear();
        Ok(())
    }
}

/// The deadline is for each step and not for the whole, so that a slow reader is cut and a large frame is not.
async fn write_all<W: AsyncWrite + Unpin>(
    socket: &mut W,
    mut bytes: &[u8],
    stall: Duration,
) -> Result<(), FrameError> {
    while !bytes.is_empty() {
        let n_written = timeout(stall, socket.write(bytes)).await.map_err(|_| FrameError::Stalled)??;
        if n_written == 0 {
            return Err(FrameError::Cut);
        }
        bytes = &bytes[n_written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = i32::try_from(length).unwrap().to_be_bytes().to_vec();
        bytes.resize(4 + length, 7);
        bytes
    }

    #[tokio::test]
    async fn a_large_frame_waits_until_others_are_done_with_their_memory() {
        let budget = FrameBudget::new(3 << 20);
        let large = frame(2 << 20);
        let mut first = FrameReader::new(8 << 20, STALL, budget.clone());
        let mut second = FrameReader::new(8 << 20, STALL, budget);
        let held = first.next(&mut large.as_slice()).await.unwrap().unwrap();
        assert_eq!(held.bytes.len(), 2 << 20);
        let small = frame(1000);
        assert!(first.next(&mut small.as_slice()).await.unwrap().unwrap().room.is_none());

        let mut socket = large.as_slice();
        let mut waiting = Box::pin(second.next(&mut socket));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(waiting.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_cancelled_read_goes_on_where_it_stopped() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(1 << 20, STALL, FrameBudget::new(1 << 20));
        let bytes = frame(40);
        for piece in bytes.chunks(3) {
            client.write_all(piece).await.unwrap();
            let whole = futures_util::poll!(Box::pin(reader.next(&mut server)));
            match whole {
                std::task::Poll::Ready(received) => {
                    assert_eq!(received.unwrap().unwrap().bytes, bytes[4..]);
                    return;
                }
                std::task::Poll::Pending => {}
            }
        }
        panic!("the frame was never complete");
    }
}
