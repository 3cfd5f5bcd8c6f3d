//! From an address to a connected server.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};

use super::socket::prepare_server;
use crate::routes::Address;

/// First wait after a listener's queue was full; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A connected server.
#[derive(Debug)]
pub enum BackendStream {
    /// Over the network.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

/// Why a server was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It did not answer in time.
    #[error("the server did not answer in time")]
    Late,
    /// Nobody listens there, or the way is barred.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerPatience {
    /// To be reached.
    pub connect: Duration,
    /// On the network: to acknowledge what it was sent.
    pub silence: Duration,
}

/// Connects.
pub async fn connect(address: &Address, patience: ServerPatience) -> Result<BackendStream, ConnectError> {
    let connected = async {
        match address {
            Address::Unix(path) => {
                let mut wait = FIRST_WAIT;
                loop {
                    match UnixStream::connect(path).await {
                        // A full queue of a Unix listener is an error to try again, not a wait.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            sleep(wait).await;
                            wait = (wait * 2).min(LONGEST_WAIT);
                        }
                        outcome => return outcome.map(BackendStream::Unix),
                    }
                }
            }
            Address::Tcp { host, port } => {
                // Resolves only what the runtime wrote into the table, never what a client said.
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for candidate in lookup_host((host.as_str(), *port)).await? {
                    match TcpStream::connect(candidate).await {
                        Ok(stream) => {
                            prepare_server(&stream, patience.silence)?;
                            return Ok(BackendStream::Tcp(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    };
    match timeout(patience.connect, connected).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(ConnectError::Late),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_on_the_network_is_asked_whether_it_lives_and_given_up_when_it_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: Address = format!("tcp:{}", listener.local_addr().unwrap()).parse().unwrap();
        let patience = ServerPatience { connect: Duration::from_secs(30), silence: Duration::from_secs(7) };
        let BackendStream::Tcp(stream) = connect(&address, patience).await.unwrap() else {
            panic!("not over the network")
        };
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 7_000);
        assert!(sockopt::socket_keepalive(&stream).unwrap() && stream.nodelay().unwrap());
    }
}
