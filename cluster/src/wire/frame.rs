//! Frames off and onto a socket.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::encode::Frame;

/// Up to this a frame's memory is taken at once; a larger one grows as its bytes arrive, so that announcing
/// 33 MB costs the client 33 MB.
const TRUSTED_LENGTH: usize = 1 << 20;

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

/// Reads frames. All state is in here, so a cancelled [`FrameReader::next`] loses nothing; between frames it
/// holds no memory of its own.
#[derive(Debug, Default)]
pub struct FrameReader {
    length: [u8; 4],
    n_length: usize,
    body: BytesMut,
}

impl FrameReader {
    /// The next frame's bytes after its length; `None` when the peer closed between frames. Waits as long as
    /// it takes for a frame to begin, and `stall` for each further piece of one.
    pub async fn next<R: AsyncRead + Unpin>(
        &mut self,
        socket: &mut R,
        cap: usize,
        stall: Duration,
    ) -> Result<Option<Bytes>, FrameError> {
        while self.n_length < 4 {
            let read = socket.read(&mut self.length[self.n_length..]);
            let n_read = if self.n_length == 0 { read.await? } else { within(stall, read).await? };
            if n_read == 0 {
                return if self.n_length == 0 { Ok(None) } else { Err(FrameError::Cut) };
            }
            self.n_length += n_read;
        }
        let length = self.checked_length(cap)?;
        while self.body.len() < length {
            self.make_room(length);
            let missing = length - self.body.len();
            let mut room = (&mut self.body).limit(missing);
            if within(stall, socket.read_buf(&mut room)).await? == 0 {
                return Err(FrameError::Cut);
            }
        }
        self.n_length = 0;
        Ok(Some(std::mem::take(&mut self.body).freeze()))
    }

    fn checked_length(&self, cap: usize) -> Result<usize, FrameError> {
        let announced = i32::from_be_bytes(self.length);
        match usize::try_from(announced) {
            Ok(length) if length > 0 && length <= cap => Ok(length),
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
