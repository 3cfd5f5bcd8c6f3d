//! Where clients, or the gateway for them, come in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, UnixListener};

use super::transport::Transport;

/// The kernel's limit for a Unix socket's path, without its final NUL.
const MAX_UNIX_PATH: usize = 107;

/// An address to listen on, as configuration files write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// `unix:PATH`: the gateway on this machine; a PROXY header is required.
    Unix(PathBuf),
    /// `tcp:HOST:PORT`: clients themselves.
    Tcp(String),
    /// `tcp+proxy:HOST:PORT`: a gateway elsewhere; a PROXY header is required.
    TcpBehindProxy(String),
    /// `tcp+plain:ADDRESS:PORT`: clients on this machine, without TLS.
    Plain(Loopback),
}

/// A TCP address that only this machine reaches: 127.0.0.0/8 or ::1, as a number, since a name may come to mean
/// another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loopback(SocketAddr);

impl Loopback {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback()).map(Self)
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not one of the forms.
    #[error("{0:?} is not an address: write unix:PATH, tcp:HOST:PORT or tcp+proxy:HOST:PORT")]
    Form(String),
    /// Plaintext that other machines could reach.
    #[error(
        "{0:?} is refused: without TLS a server listens on loopback only; write tcp+plain:127.0.0.1:PORT or tcp+plain:[::1]:PORT"
    )]
    NotLoopback(String),
    /// The kernel takes no longer path.
    #[error("the socket path {0:?} is longer than {MAX_UNIX_PATH} bytes: choose a shorter folder")]
    PathTooLong(PathBuf),
    /// Something else than a socket is in the way.
    #[error("{0:?} exists and is not a socket")]
    NotASocket(PathBuf),
    /// The kernel refused.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl FromStr for ListenAddress {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let host_and_port = |rest: &str| match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(rest.to_owned()),
            _ => Err(ListenError::Form(text.to_owned())),
        };
        match text.split_once(':') {
            Some(("unix", path)) if path.len() > MAX_UNIX_PATH => Err(ListenError::PathTooLong(path.into())),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp", rest)) => host_and_port(rest).map(Self::Tcp),
            Some(("tcp+proxy", rest)) => host_and_port(rest).map(Self::TcpBehindProxy),
            Some(("tcp+plain", rest)) => Loopback::parse(rest)
                .map(Self::Plain)
                .ok_or_else(|| ListenError::NotLoopback(text.to_owned())),
            _ => Err(ListenError::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::TcpBehindProxy(address) => write!(f, "tcp+proxy:{address}"),
            Self::Plain(Loopback(address)) => write!(f, "tcp+plain:{address}"),
        }
    }
}

impl ListenAddress {
    /// Whether clients are met without TLS.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    address: ListenAddress,
    socket: ListenSocket,
}

#[derive(Debug)]
enum ListenSocket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Binds. A Unix socket that a former process left is replaced; its group may connect.
    pub async fn bind(address: ListenAddress) -> Result<Self, ListenError> {
        let socket = match &address {
            ListenAddress::Unix(path) => ListenSocket::Unix(bind_unix(path, &address)?),
            ListenAddress::Tcp(host) | ListenAddress::TcpBehindProxy(host) => {
                let bound = TcpListener::bind(host.as_str()).await;
                ListenSocket::Tcp(bound.map_err(|source| failed(&address, source))?)
            }
            ListenAddress::Plain(Loopback(host)) => {
                let bound = TcpListener::bind(host).await;
                ListenSocket::Tcp(bound.map_err(|source| failed(&address, source))?)
            }
        };
        Ok(Self { address, socket })
    }

    /// The TCP address that was bound, for a port of 0.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListenSocket::Unix(_) => None,
            ListenSocket::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// The address that was asked for.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Whether connections begin with a PROXY header.
    pub(super) fn behind_proxy(&self) -> bool {
        matches!(self.address, ListenAddress::Unix(_) | ListenAddress::TcpBehindProxy(_))
    }

    /// The next connection, and its peer's address where the socket knows one.
    pub(super) async fn accept(&self) -> io::Result<(Transport, Option<SocketAddr>)> {
        match &self.socket {
            ListenSocket::Unix(listener) => Ok((Transport::unix(listener.accept().await?.0), None)),
            ListenSocket::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                Ok((Transport::tcp(socket)?, Some(peer)))
            }
        }
    }
}

fn failed(address: &ListenAddress, source: io::Error) -> ListenError {
    ListenError::Io { address: address.to_string(), source }
}

fn bind_unix(path: &Path, address: &ListenAddress) -> Result<UnixListener, ListenError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(|source| failed(address, source))?;
        }
        Ok(_) => return Err(ListenError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(address, source)),
    }
    let listener = UnixListener::bind(path).map_err(|source| failed(address, source))?;
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(path, mode).map_err(|source| failed(address, source))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        let plain = ["tcp+plain:127.0.0.1:9003", "tcp+plain:[::1]:0", "tcp+plain:127.8.0.1:1"];
        for text in ["unix:/run/sc.sock", "tcp:127.0.0.1:0", "tcp+proxy:[::1]:9003"].into_iter().chain(plain)
        {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["", "unix:", "tcp:9003", "tcp::1x", "udp:1.2.3.4:5", "/run/sc.sock", &long] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn plaintext_is_refused_on_every_address_but_loopback() {
        for elsewhere in [
            "0.0.0.0:9003",
            "[::]:9003",
            "192.168.1.7:9003",
            "[fe80::1]:9003",
            "[::ffff:127.0.0.1]:9003",
            "localhost:9003",
            "127.0.0.1",
            "",
        ] {
            let refused = format!("tcp+plain:{elsewhere}").parse::<ListenAddress>();
            assert!(matches!(refused, Err(ListenError::NotLoopback(_))), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = ListenAddress::Unix(folder.path().join("sc.sock"));
        drop(Listener::bind(address.clone()).await.unwrap());
        Listener::bind(address).await.unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        let refused = Listener::bind(ListenAddress::Unix(file.clone())).await;
        assert!(matches!(refused, Err(ListenError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
    }
}
