//! The socket below TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::poll_read_buf;

/// rustls asks for 4 KiB at a time; while more than that is waiting, this much is read at once.
const AHEAD: usize = 32 * 1024;

const KEEPALIVE_IDLE: Duration = Duration::from_secs(45);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;

/// A client's connection: straight, or through the gateway.
#[derive(Debug)]
pub(super) struct Transport {
    socket: Socket,
    /// Bytes read ahead; without memory of its own while the peer is quiet.
    ahead: BytesMut,
    /// The last read filled what it was given, so there is probably more.
    flowing: bool,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Transport {
    pub(super) fn unix(socket: UnixStream) -> Self {
        Self { socket: Socket::Unix(socket), ahead: BytesMut::new(), flowing: false }
    }

    /// Sets what latency and dead peers ask for: no Nagle delay, and keepalive, since Fluvio's protocol has
    /// no ping and a client may be silent for hours.
    pub(super) fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(&socket, true)?;
        rustix::net::sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
        rustix::net::sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
        rustix::net::sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
        Ok(Self { socket: Socket::Tcp(socket), ahead: BytesMut::new(), flowing: false })
    }

    /// Reads into `buf` and, on TCP, has it acknowledged at once: clients write a request in pieces, and
    /// with a delayed acknowledgement each one would wait for 40 ms. Linux clears the flag by itself.
    fn poll_socket(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Tcp(socket) => {
                ready!(Pin::new(&mut *socket).poll_read(cx, buf))?;
                acknowledge(socket);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead.reserve(AHEAD);
        match &mut self.socket {
            Socket::Unix(socket) => poll_read_buf(Pin::new(socket), cx, &mut self.ahead),
            Socket::Tcp(socket) => {
                let n_read = ready!(poll_read_buf(Pin::new(&mut *socket), cx, &mut self.ahead))?;
                acknowledge(socket);
                Poll::Ready(Ok(n_read))
            }
        }
    }
}

fn acknowledge(socket: &TcpStream) {
    // Refused only for a socket that is closing, where it does not matter.
    let _ = socket.set_quickack(true);
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() && (!this.flowing || buf.remaining() >= AHEAD) {
            let before = buf.filled().len();
            ready!(this.poll_socket(cx, buf))?;
            this.flowing = buf.remaining() == 0 && buf.filled().len() > before;
            return Poll::Ready(Ok(()));
        }
        if this.ahead.is_empty() {
            match this.poll_ahead(cx) {
                Poll::Ready(Ok(n_read)) => this.flowing = n_read >= AHEAD / 2,
                other => {
                    this.ahead = BytesMut::new();
                    this.flowing = false;
                    return other.map_ok(|_| ());
                }
            }
        }
        let n_taken = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..n_taken]);
        this.ahead.advance(n_taken);
        if this.ahead.is_empty() && !this.flowing {
            this.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
