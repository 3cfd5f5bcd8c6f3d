//! What a relay needs of a socket, TCP or Unix.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, Shutdown, recv, sockopt};
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

/// Silence after which the kernel asks whether a client is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between its questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered questions after which the connection is dead.
const KEEPALIVE_COUNT: u32 = 3;

/// A connected, non-blocking stream socket.
pub trait Socket: AsFd + Send + Sync + Sized {
    /// Waits for one of the conditions.
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + Send;
    /// How many bytes are there to read, up to one, without reading them: 0 at the end of the stream.
    fn look(&self) -> io::Result<usize>;
    /// Reads what is there.
    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize>;
    /// Writes what fits.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Acknowledges at once what was just read. Linux forgets the wish, so it is made after each read.
    fn acknowledge(&self);
    /// Says that no more bytes come.
    fn end_writing(&self) {
        // A peer that is gone is found out by the next read or write.
        let _ = rustix::net::shutdown(self, Shutdown::Write);
    }
    /// Makes the coming close a reset.
    fn reset_on_close(&self);
    /// Whether the peer has closed altogether, rather than only said that it sends no more. Unix sockets
    /// know at once; TCP learns it from a reset.
    fn is_gone(&self) -> bool {
        let mut watched = [PollFd::new(self, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut watched, Some(&now)) {
            Ok(_) => watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
            Err(_) => false,
        }
    }
}

impl Socket for TcpStream {
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        Self::ready(self, interest).await
    }
    fn look(&self) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || look(self))
    }
    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, bytes)
    }
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
    fn acknowledge(&self) {
        // Fails only on a connection that is gone.
        let _ = self.set_quickack(true);
    }
    fn reset_on_close(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Socket for UnixStream {
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        Self::ready(self, interest).await
    }
    fn look(&self) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || look(self))
    }
    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, bytes)
    }
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
    fn acknowledge(&self) {}
    fn reset_on_close(&self) {}
}

fn look(socket: impl AsFd) -> io::Result<usize> {
    let (_, n_bytes) = recv(socket, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(n_bytes)
}

/// The same for a cluster's server on the network, and a bound to how long it may leave bytes unacknowledged: an
/// address whose machine is gone answers nothing at all, and the kernel by itself would try for a quarter of an hour.
pub fn prepare_server(socket: &TcpStream, silence: Duration) -> io::Result<()> {
    prepare_client(socket)?;
    let milliseconds = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, milliseconds)?)
}

/// Sets a TCP socket up for small messages that are never delayed and for peers that vanish.
pub fn prepare_client(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT)?;
    Ok(())
}
