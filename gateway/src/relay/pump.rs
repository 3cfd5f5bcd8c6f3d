//! One direction of a relay.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::buffers::BufferPool;
use super::socket::Socket;

/// Full buffers copied before others get their turn.
const TURN: u32 = 16;

/// How one direction ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// The source said that no more bytes come; all of its bytes are written.
    Ended,
    /// The gateway stops; all bytes that were read are written.
    Stopping,
}

/// How one direction broke, which ends both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Reading failed: the source is gone.
    Source,
    /// Writing failed: the destination is gone.
    Destination,
    /// The destination took nothing for too long.
    Stuck,
}

/// What all directions of a connection share.
pub struct Pump<'a> {
    /// Where buffers come from.
    pub pool: &'a Arc<BufferPool>,
    /// How long a destination may take nothing.
    pub write_patience: Duration,
    /// Stops reading.
    pub stop: &'a CancellationToken,
    /// Grows with each byte in either direction.
    pub progress: &'a AtomicU64,
}

impl Pump<'_> {
    /// Copies until the source ends, counting into `total`.
    pub async fn copy<S: Socket, D: Socket>(
        &self,
        source: &S,
        destination: &D,
        total: &AtomicU64,
    ) -> Result<Drained, Broken> {
        // One registration for the whole connection: all connections share the token's lock.
        let mut stopped = pin!(self.stop.cancelled());
        loop {
            tokio::select! {
                readable = source.ready(Interest::READABLE) => readable.map_err(|_| Broken::Source)?,
                () = &mut stopped => return Ok(Drained::Stopping),
            };
            if self.copy_what_is_there(source, destination, total).await? {
                return Ok(Drained::Ended);
            }
        }
    }

    /// Copies until there is nothing to read right now, holding a buffer only so long. `true` at the end.
    async fn copy_what_is_there<S: Socket, D: Socket>(
        &self,
        source: &S,
        destination: &D,
        total: &AtomicU64,
    ) -> Result<bool, Broken> {
        let mut buffer = self.pool.take();
        let mut turns = 0;
        while !self.stop.is_cancelled() {
            let n = match source.try_read(buffer.bytes()) {
                Ok(0) => return Ok(true),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Broken::Source),
            };
            source.acknowledge();
            total.fetch_add(n as u64, Ordering::Relaxed);
            self.progress.fetch_add(n as u64, Ordering::Relaxed);
            self.write(&buffer.bytes()[..n], source, destination).await?;
            turns += 1;
            if turns % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(false)
    }

    /// Writes all of it, or finds out that one of the two is gone.
    async fn write<S: Socket, D: Socket>(
        &self,
        mut bytes: &[u8],
        source: &S,
        destination: &D,
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            match destination.try_write(bytes) {
                Ok(0) => return Err(Broken::Destination),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_room(source, destination).await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken::Destination),
            }
        }
        Ok(())
    }

    async fn wait_for_room<S: Socket, D: Socket>(&self, source: &S, destination: &D) -> Result<(), Broken> {
        let room = async {
            tokio::select! {
                room = destination.ready(Interest::WRITABLE) => {
                    room.map(|_| ()).map_err(|_| Broken::Destination)
                }
                // Nobody reads the source meanwhile, so its reset would go unnoticed.
                _ = source.ready(Interest::ERROR) => Err(Broken::Source),
            }
        };
        timeout(self.write_patience, room).await.unwrap_or(Err(Broken::Stuck))
    }
}
