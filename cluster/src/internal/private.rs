//! Unix sockets that only root and the process's own user can use.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::Address;

/// An internal socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    pub(super) address: Address,
    pub(super) reason: std::io::Error,
}

/// Binds a socket for this process's user alone. One that a former process left is replaced.
pub(super) fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |reason| BindError { address: Address::Unix(PathBuf::from(path)), reason };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Before this the process's umask, and always the check of each peer, keep strangers out.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Whether whoever is at the other end is root or runs as the same user as this process.
pub(super) fn peer_is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| trusted(peer.uid(), own))
}

fn trusted(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_own_user_are_trusted() {
        for (peer, own, expected) in
            [(0, 1000, true), (1000, 1000, true), (1001, 1000, false), (1000, 0, false)]
        {
            assert_eq!(trusted(peer, own), expected, "{peer} at {own}");
        }
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_nobody_else_may_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(bind(&path).unwrap());
        let _listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
