//! Both directions of a connection, from the hello to the end.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::buffers::BufferPool;
use super::pump::{Broken, Drained, Pump};
use super::socket::Socket;
use crate::usage::ClusterUsage;

/// How long a client whose server closed may take to read the last bytes and close, before it is reset.
const LAST_BYTES: Duration = Duration::from_millis(250);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Both sides were done.
    Orderly,
    /// The client went away.
    Client,
    /// The server went away; the client was reset.
    Backend,
    /// One side took nothing for too long.
    Stuck,
    /// Nothing moved for too long.
    Idle,
    /// The gateway stops.
    Stopping,
}

/// How long each kind of silence may last.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Bytes wait and nobody takes them.
    pub write: Duration,
    /// One side is done and nothing comes from the other.
    pub half_closed: Duration,
    /// Nothing moves at all; `None` for as long as both live.
    pub idle: Option<Duration>,
}

/// Which direction ended first.
enum First {
    Up(Result<Drained, Broken>),
    Down(Result<Drained, Broken>),
    Idle,
}

/// Passes bytes both ways until the end. Both sockets are the caller's to close; where the end calls for a
/// reset, the client's is set up for it.
pub async fn relay<B: Socket>(
    client: &TcpStream,
    backend: &B,
    usage: &ClusterUsage,
    pool: &Arc<BufferPool>,
    patience: Patience,
    stop: &CancellationToken,
) -> Ended {
    let progress = AtomicU64::new(0);
    let pump = Pump { pool, write_patience: patience.write, stop, progress: &progress };
    let mut up = pin!(pump.copy(client, backend, &usage.bytes_in));
    let mut down = pin!(pump.copy(backend, client, &usage.bytes_out));
    let first = tokio::select! {
        outcome = &mut up => First::Up(outcome),
        outcome = &mut down => First::Down(outcome),
        () = silence(patience.idle, &progress) => First::Idle,
    };
    let ended = match first {
        First::Idle => Ended::Idle,
        First::Up(Err(broken)) => after_break(broken, Ended::Client, Ended::Backend),
        First::Down(Err(broken)) => after_break(broken, Ended::Backend, Ended::Client),
        First::Up(Ok(Drained::Stopping)) => finish_stopping(&mut down).await,
        First::Down(Ok(Drained::Stopping)) => finish_stopping(&mut up).await,
        First::Up(Ok(Drained::Ended)) => {
            backend.end_writing();
            match before_silence(&mut down, patience.half_closed, &progress).await {
                Some(Err(broken)) => after_break(broken, Ended::Backend, Ended::Client),
                Some(Ok(Drained::Stopping)) => Ended::Stopping,
                Some(Ok(Drained::Ended)) => Ended::Orderly,
                None => Ended::Client,
            }
        }
        First::Down(Ok(Drained::Ended)) if backend.is_gone() => last_bytes(client).await,
        First::Down(Ok(Drained::Ended)) => {
            client.end_writing();
            match before_silence(&mut up, patience.half_closed, &progress).await {
                Some(Err(broken)) => after_break(broken, Ended::Client, Ended::Backend),
                Some(Ok(Drained::Stopping)) => Ended::Stopping,
                Some(Ok(Drained::Ended)) => Ended::Orderly,
                None => Ended::Backend,
            }
        }
    };
    if matches!(ended, Ended::Backend | Ended::Stuck | Ended::Idle) {
        client.reset_on_close();
        backend.reset_on_close();
    }
    ended
}

fn after_break(broken: Broken, source: Ended, destination: Ended) -> Ended {
    match broken {
        Broken::Source => source,
        Broken::Destination => destination,
        Broken::Stuck => Ended::Stuck,
    }
}

/// Lets the other direction write what it has read.
async fn finish_stopping(other: impl Future<Output = Result<Drained, Broken>>) -> Ended {
    // Broken or not, the connection ends now; the server bounds how long this may take.
    let _ = other.await;
    Ended::Stopping
}

/// Waits for a direction as long as something moves.
async fn before_silence<T>(
    direction: impl Future<Output = T>,
    limit: Duration,
    progress: &AtomicU64,
) -> Option<T> {
    tokio::select! {
        outcome = direction => Some(outcome),
        () = silence(Some(limit), progress) => None,
    }
}

/// Returns after a time of `limit` to twice `limit` without a byte.
async fn silence(limit: Option<Duration>, progress: &AtomicU64) {
    let Some(limit) = limit else { return pending().await };
    let mut seen = progress.load(Ordering::Relaxed);
    loop {
        sleep(limit).await;
        let now = progress.load(Ordering::Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// The server has closed altogether: the client gets the end of the stream at once, and a reset as soon as
/// it sends more or shows no sign of closing. A reset right away would destroy bytes that are still on their
/// way, such as the alert that says why.
async fn last_bytes(client: &TcpStream) -> Ended {
    client.end_writing();
    let mut scratch = [0_u8; 1];
    let closed = async {
        loop {
            if client.ready(Interest::READABLE).await.is_err() {
                return Ended::Backend;
            }
            match client.try_read(&mut scratch) {
                Ok(0) => return Ended::Orderly,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return Ended::Backend,
            }
        }
    };
    timeout(LAST_BYTES, closed).await.unwrap_or(Ended::Backend)
}
