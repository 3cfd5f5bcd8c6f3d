//! Frames of the link: a `u32` length (big-endian), then one JSON value.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::message::FRAME_BYTES_MAX;

/// Why the link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed or closed.
    #[error("the link broke: {0}")]
    Io(#[from] std::io::Error),
    /// A frame above the cap.
    #[error("a frame of {0} bytes is above the link's limit")]
    TooLarge(usize),
    /// Not one of the link's messages: the other side is another version.
    #[error("the other side sent what is not a message of this link: {0}")]
    Message(#[from] serde_json::Error),
    /// The other side did not keep to the order of messages.
    #[error("the other side sent {0}")]
    Order(&'static str),
    /// The other side is not let in, or does not let us in.
    #[error("{0}")]
    Refused(String),
    /// Nothing came in time.
    #[error("the other side did not answer in time")]
    TimedOut,
    /// This side is stopping or the other is away.
    #[error("there is no link now")]
    Away,
}

/// Reads one message; `None` at the end of the stream. Not cancel-safe: give it a task of its own.
pub async fn read<T: DeserializeOwned>(
    socket: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, LinkError> {
    let mut length = [0; 4];
    if socket.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut length[1..]).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(LinkError::TooLarge(length));
    }
    let mut body = Vec::new();
    let read = socket.take(length as u64).read_to_end(&mut body).await?;
    if read < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Writes one message.
pub async fn write<T: Serialize>(
    socket: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), LinkError> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(LinkError::TooLarge(length));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    socket.write_all(&frame).await?;
    // TLS may keep the end of it back.
    socket.flush().await?;
    Ok(())
}

/// Bytes that a value takes in a frame.
pub fn bytes_of<T: Serialize>(value: &T) -> Result<u64, serde_json::Error> {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value)?;
    Ok(counted.0)
}

struct Counted(u64);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_goes_across_and_the_end_is_seen() {
        let (mut left, mut right) = tokio::io::duplex(64);
        let writer = tokio::spawn(async move { write(&mut left, &vec!["long"; 100]).await });
        assert_eq!(read::<Vec<String>>(&mut right).await.unwrap().unwrap().len(), 100);
        writer.await.unwrap().unwrap();
        assert!(read::<Vec<String>>(&mut right).await.unwrap().is_none());
        assert_eq!(bytes_of(&["a\u{1}"]).unwrap(), br#"["a\u0001"]"#.len() as u64);
    }

    #[tokio::test]
    async fn hostile_frames_are_errors() {
        for (bytes, name) in [
            (&b"\xff\xff\xff\xff"[..], "huge length"),
            (b"\x00\x00\x00\x04ab", "cut"),
            (b"\x00\x00\x00\x02{]", "not JSON"),
            (b"\x00\x00", "cut length"),
        ] {
            assert!(read::<u32>(&mut &*bytes).await.is_err(), "{name}");
        }
    }
}
