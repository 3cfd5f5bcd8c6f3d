//! The hello as it comes from a socket.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::name::{HelloReader, MAX_HELLO, Progress};

/// Room for the first read: a post-quantum hello fits.
const FIRST_ROOM: usize = 2048;

/// A hello that names a server.
#[derive(Debug)]
pub struct Hello {
    /// The name, as [`super`] describes it.
    pub name: String,
    /// Every byte read so far, from the first; what follows the hello is part of it.
    pub bytes: Vec<u8>,
}

/// Why there is no name. A client sees no difference between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The client closed or reset the connection.
    #[error("the client went away")]
    Gone,
    /// No whole hello within the time.
    #[error("no whole hello in time")]
    Late,
    /// A whole hello without a server name.
    #[error("the hello names no server")]
    Nameless,
    /// Not a TLS hello.
    #[error("not a TLS hello")]
    Malformed,
    /// More than [`MAX_HELLO`] bytes and still no whole hello.
    #[error("the hello is too long")]
    TooLong,
}

/// Reads until the hello is whole, within `limit` from `accepted`.
pub async fn read_hello(client: &TcpStream, accepted: Instant, limit: Duration) -> Result<Hello, HelloError> {
    match timeout_at(accepted + limit, read_whole(client)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(HelloError::Late),
    }
}

async fn read_whole(client: &TcpStream) -> Result<Hello, HelloError> {
    // Nothing is allocated before the first byte: ten thousand silent connections cost no buffers.
    client.readable().await.map_err(|_| HelloError::Gone)?;
    let mut bytes = Vec::new();
    let mut reader = Box::new(HelloReader::default());
    loop {
        let seen = bytes.len();
        if read_some(client, &mut bytes)? {
            // The published client writes in pieces and waits for each acknowledgement.
            let _ = client.set_quickack(true);
            match reader.take(&bytes[seen..]) {
                Progress::More if bytes.len() >= MAX_HELLO => return Err(HelloError::TooLong),
                Progress::More => {}
                Progress::Named(name) => return Ok(Hello { name, bytes }),
                Progress::Nameless => return Err(HelloError::Nameless),
                Progress::Malformed => return Err(HelloError::Malformed),
            }
        } else {
            client.readable().await.map_err(|_| HelloError::Gone)?;
        }
    }
}

/// Appends what is there; `false` if nothing is there yet.
fn read_some(client: &TcpStream, bytes: &mut Vec<u8>) -> Result<bool, HelloError> {
    let seen = bytes.len();
    let room = FIRST_ROOM.min(MAX_HELLO - seen);
    bytes.resize(seen + room, 0);
    let outcome = client.try_read(&mut bytes[seen..]);
    bytes.truncate(seen + outcome.as_ref().copied().unwrap_or(0));
    match outcome {
        Ok(0) => Err(HelloError::Gone),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(_) => Err(HelloError::Gone),
    }
}
