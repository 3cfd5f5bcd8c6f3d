//! Whether a server answers the hello.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::socket::Socket;

/// What came after the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The server's first byte, or something of the client's: from now on bytes are passed.
    Yes,
    /// The server's end or its silence, before it said a word: another one of the cluster can be given the same hello.
    No,
}

/// Waits for the server's first byte. In TLS it is the server's turn after the hello, so a server that ends there has died,
/// or is about to, and the client has noticed nothing yet; one that says nothing for `patience` has been stopped, or is
/// stuck. A client that sends more, or goes, is not kept waiting.
pub async fn answered<B: Socket>(client: &TcpStream, backend: &B, patience: Duration) -> Answered {
    timeout(patience, first_word(client, backend)).await.unwrap_or(Answered::No)
}

async fn first_word<B: Socket>(client: &TcpStream, backend: &B) -> Answered {
    loop {
        tokio::select! {
            biased;
            readable = client.ready(Interest::READABLE) => match readable.and_then(|_| client.look()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return Answered::Yes,
            },
            readable = backend.ready(Interest::READABLE) => match readable.and_then(|_| backend.look()) {
                Ok(0) => return Answered::No,
                Ok(_) => return Answered::Yes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Answered::No,
            },
        }
    }
}
