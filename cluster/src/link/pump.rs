//! The two tasks below a session: one reads, one writes. They are tasks of their own because a half-read or
//! half-written frame must not be dropped when something else happens, and because each side must show that it
//! lives however long its session waits for a disk.
//!
//! A side that has nothing to say beats. A process that was stopped or cut off does not, and the other side ends
//! the link: a closed connection alone would be noticed by those only who are told of it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use super::frames::{LinkError, read, write};

/// A side that has said nothing for this long beats.
pub const BEAT: Duration = Duration::from_secs(1);

/// A side that was not heard for this long is dead.
pub const SILENCE: Duration = Duration::from_secs(5);

/// How long the other side may take to take a frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// Frames from the other side that may wait to be acted on, and frames that may wait to be written.
const INCOMING: usize = 64;
const OUTGOING: usize = 8;

/// What goes one way over the link.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What says nothing but that the sender lives.
    const BEAT: Self;

    /// Whether it is that.
    fn is_beat(&self) -> bool;
}

/// A session's way to the other side. Dropping it ends both tasks.
pub struct Pump<In, Out> {
    incoming: mpsc::Receiver<Result<In, LinkError>>,
    outgoing: mpsc::Sender<Out>,
    _tasks: JoinSet<()>,
}

impl<In: Message, Out: Message> Pump<In, Out> {
    /// With `beats`, both sides have to show that they live.
    pub fn start<R, W>(reader: R, writer: W, beats: bool) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, incoming) = mpsc::channel(INCOMING);
        let (outgoing, to_write) = mpsc::channel(OUTGOING);
        let mut tasks = JoinSet::new();
        tasks.spawn(read_all(AliveReader::new(reader, beats.then_some(SILENCE)), sender.clone()));
        tasks.spawn(async move {
            if let Err(error) = write_all(writer, to_write, beats).await {
                // Whoever waits for messages learns why there are none; a session that is gone need not.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { incoming, outgoing, _tasks: tasks }
    }

    /// The next message; after an error there is none. Nothing is lost when this is dropped.
    pub async fn next(&mut self) -> Result<In, LinkError> {
        self.incoming.recv().await.unwrap_or(Err(LinkError::Away))
    }

    /// Has a message written soon.
    pub async fn send(&self, message: Out) -> Result<(), LinkError> {
        match timeout(PATIENCE, self.outgoing.send(message)).await {
            Ok(sent) => sent.map_err(|_| LinkError::Away),
            Err(_) => Err(LinkError::TimedOut),
        }
    }
}

async fn read_all<In: Message>(
    mut reader: impl AsyncRead + Unpin,
    incoming: mpsc::Sender<Result<In, LinkError>>,
) {
    loop {
        let message = match read::<In>(&mut reader).await {
            Ok(Some(message)) if message.is_beat() => continue,
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(LinkError::Order("the end of the stream")),
            Err(LinkError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                Err(LinkError::TimedOut)
            }
            Err(error) => Err(error),
        };
        let over = message.is_err();
        if incoming.send(message).await.is_err() || over {
            return;
        }
    }
}

async fn write_all<Out: Message>(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::Receiver<Out>,
    beats: bool,
) -> Result<(), LinkError> {
    let mut said = Instant::now();
    loop {
        let next = match beats {
            true => timeout_at(said + BEAT, outgoing.recv()).await.unwrap_or(Some(Out::BEAT)),
            false => outgoing.recv().await,
        };
        let Some(message) = next else { return Ok(()) };
        timeout(PATIENCE, write(&mut writer, &message)).await.map_err(|_| LinkError::TimedOut)??;
        said = Instant::now();
    }
}

/// Fails once nothing has come for too long while somebody waited for it. A frame that takes long to come is no
/// silence, and neither is a reader that does not read.
struct AliveReader<R> {
    reader: R,
    silence: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<R> AliveReader<R> {
    fn new(reader: R, silence: Option<Duration>) -> Self {
        Self { reader, silence, waiting: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for AliveReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.reader).poll_read(cx, buf) {
            this.waiting = None;
            return Poll::Ready(read);
        }
        let Some(silence) = this.silence else { return Poll::Pending };
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(silence)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(std::io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
