//! What waits to be written to one client, bounded in bytes.
//!
//! A client that does not read leaves its responses here. Whoever makes a large one takes [`Room`] for it
//! first, so a slow consumer with fifty streams pins the bound and not fifty slices.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::pace::Pace;
use crate::wire::{Frame, FrameError, FrameWriter};

/// Room is counted in units, so that a semaphore's `u32` holds it and tiny responses cost something.
const UNIT: usize = 1024;
/// 4 MiB for each connection.
const UNITS: usize = 4096;
/// Frames written before the socket is flushed.
const AT_ONCE: usize = 64;

/// The connection takes no more responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

#[derive(Debug)]
struct Queued {
    frame: Frame,
    _room: OwnedSemaphorePermit,
}

/// Takes a connection's responses.
#[derive(Debug, Clone)]
pub struct Outbox {
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

/// Room for one response.
#[derive(Debug)]
pub struct Room {
    queue: mpsc::UnboundedSender<Queued>,
    permit: OwnedSemaphorePermit,
}

/// The end from which the socket is fed.
#[derive(Debug)]
pub(super) struct Outgoing {
    queue: mpsc::UnboundedReceiver<Queued>,
    room: Arc<Semaphore>,
}

impl Outbox {
    pub(super) fn new() -> (Self, Outgoing) {
        let (sender, queue) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(UNITS));
        (Self { queue: sender, room: Arc::clone(&room) }, Outgoing { queue, room })
    }

    /// Waits until about `n_bytes` may be made and sent. A response larger than all the room takes all of it.
    pub async fn room(&self, n_bytes: usize) -> Result<Room, Closed> {
        let permit = Arc::clone(&self.room).acquire_many_owned(units(n_bytes)).await;
        Ok(Room { queue: self.queue.clone(), permit: permit.map_err(|_| Closed)? })
    }

    /// Sends a response that exists already.
    pub async fn send(&self, frame: Frame) -> Result<(), Closed> {
        self.room(frame.len()).await?.send(frame)
    }

    /// Sends a response if there is room for it now, and gives it back if not.
    pub(super) fn try_send(&self, frame: Frame) -> Result<(), Frame> {
        match Arc::clone(&self.room).try_acquire_many_owned(units(frame.len())) {
            // A queue whose writer is gone drops the frame, and its connection is about to end.
            Ok(permit) => {
                let _ = Room { queue: self.queue.clone(), permit }.send(frame);
                Ok(())
            }
            Err(_) => Err(frame),
        }
    }
}

impl Room {
    /// Sends the response.
    pub fn send(self, frame: Frame) -> Result<(), Closed> {
        self.queue.send(Queued { frame, _room: self.permit }).map_err(|_| Closed)
    }
}

fn units(n_bytes: usize) -> u32 {
    // At most UNITS, which fits.
    u32::try_from(n_bytes.div_ceil(UNIT).clamp(1, UNITS)).unwrap_or(u32::MAX)
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.room.close();
    }
}

impl Outgoing {
    /// Writes responses until every [`Outbox`] is gone or the client stops reading for `stall`. While more was written
    /// than the rates allow nothing is, which is no stall: the outbox fills, and whoever has more to send waits.
    pub(super) async fn write<W: AsyncWrite + Unpin>(
        mut self,
        mut socket: W,
        stall: Duration,
        pace: Pace,
    ) -> Result<(), FrameError> {
        let mut writer = FrameWriter::default();
        let mut pause = pace.before_writing();
        while let Some(mut queued) = self.queue.recv().await {
            if let Some(mut pause) = pause.take() {
                pause.over().await;
            }
            for n_written in 1.. {
                writer.write(&mut socket, &queued.frame, stall).await?;
                pause = pace.sent(queued.frame.len());
                if pause.is_some() || n_written == AT_ONCE {
                    break;
                }
                match self.queue.try_recv() {
                    Ok(next) => queued = next,
                    Err(_) => break,
                }
            }
            drop(queued);
            writer.flush(&mut socket, stall).await?;
        }
        timeout(stall, socket.shutdown()).await.map_err(|_| FrameError::Stalled)??;
        Ok(())
    }
}
