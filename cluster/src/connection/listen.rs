//! Where clients, or the gateway for them, come in.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use super::transport::Transport;
use crate::config::Listen;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
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

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    address: Listen,
    socket: ListenSocket,
}

#[derive(Debug)]
enum ListenSocket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Binds. A Unix socket that a former process left is replaced; its group may connect.
    pub async fn bind(address: Listen) -> Result<Self, ListenError> {
        let socket = match &address {
            Listen::Unix(path) => ListenSocket::Unix(bind_unix(path, &address)?),
            Listen::Tcp(host) | Listen::TcpBehindProxy(host) => {
                let bound = TcpListener::bind(host.as_str()).await;
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

    /// The address that was asked for, as the configuration writes it.
    pub fn address(&self) -> String {
        text(&self.address)
    }

    /// Whether connections begin with a PROXY header.
    pub(super) fn behind_proxy(&self) -> bool {
        !matches!(self.address, Listen::Tcp(_))
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

fn failed(address: &Listen, source: io::Error) -> ListenError {
    ListenError::Io { address: text(address), source }
}

/// The address as the configuration writes it.
fn text(address: &Listen) -> String {
    match address {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Tcp(host) => format!("tcp:{host}"),
        Listen::TcpBehindProxy(host) => format!("tcp+proxy:{host}"),
    }
}

fn bind_unix(path: &Path, address: &Listen) -> Result<UnixListener, ListenError> {
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

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = Listen::Unix(folder.path().join("sc.sock"));
        drop(Listener::bind(address.clone()).await.unwrap());
        Listener::bind(address).await.unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        let refused = Listener::bind(Listen::Unix(file.clone())).await;
        assert!(matches!(refused, Err(ListenError::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
    }
}
