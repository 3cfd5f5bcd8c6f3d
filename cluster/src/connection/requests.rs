//! The loop of one connection: reads requests in order, runs their answers side by side, and ends when the
//! client goes or its right to be here does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncRead;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Session;
use super::accept::Timing;
use super::pace::{self, Pace};
use super::session::CutReason;
use crate::access::PolicyWatch;
use crate::usage::Usage;
use crate::wire::{EncodeError, Frame, FrameBudget, FrameError, FrameReader, Malformed, Received, Request};

/// Requests being answered at once; more wait in the socket.
const MAX_REQUESTS: usize = 64;
/// Request bytes being answered at once; one more frame may come on top.
const MAX_REQUEST_BYTES: usize = 8 << 20;
/// Streams of one connection. A service that lets a client open them says so before it is cut off here.
pub const MAX_STREAMS: usize = 1024;
/// A timer cannot be set for the year 2100 on every platform; a shorter one is set again.
const LONGEST_TIMER: Duration = Duration::from_secs(24 * 60 * 60);

/// Ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum Close {
    /// The client's bytes make no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A request that this server does not answer, at this version.
    #[error("request {key} at version {version} is not served here")]
    NotServed {
        /// Api key.
        key: u16,
        /// Version.
        version: i16,
    },
    /// More than one connection may ask for.
    #[error("the connection asks for too much: {0}")]
    TooMuch(&'static str),
    /// A response that cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The client takes no more responses.
    #[error(transparent)]
    Closed(#[from] super::Closed),
}

/// How a request is answered. A future lives as long as its connection.
pub enum Work {
    /// Now.
    Reply(Frame),
    /// Once, later. Counts against what a connection may have in flight.
    Later(BoxFuture<'static, Result<Frame, Close>>),
    /// By any number of responses through the session's outbox; and the client is told nothing when it ends.
    Stream(BoxFuture<'static, Result<(), Close>>),
}

/// What answers requests: the SC or an SPU.
pub trait Service: Send + Sync + 'static {
    /// What the service keeps for each connection.
    type Connection: Send;

    /// Bytes of the largest request.
    fn frame_cap(&self) -> usize;

    /// A client has come.
    fn open(&self, session: &Arc<Session>) -> Self::Connection;

    /// Takes one request. Called in the order of arrival and must not wait: what needs time goes into the
    /// returned future, and those are first polled in the order of arrival as well.
    fn request(&self, connection: &mut Self::Connection, request: Request) -> Result<Work, Close>;
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the client closed")]
    Client,
    #[error("the server stops")]
    Stopped,
    #[error("cut: {0}")]
    Cut(#[from] CutReason),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Request(#[from] Close),
    #[error("a request failed unexpectedly")]
    Panic,
}

enum Done {
    Answered { n_bytes: usize, result: Result<(), Close> },
    StreamEnded(Result<(), Close>),
    Panicked,
}

/// One connection's requests.
pub(super) struct Requests<'a, S: Service> {
    pub(super) service: &'a S,
    pub(super) session: &'a Arc<Session>,
    pub(super) policy: PolicyWatch,
    pub(super) usage: &'a Usage,
    pub(super) pace: Pace,
    pub(super) timing: Timing,
    pub(super) large_frames: FrameBudget,
    pub(super) stop: CancellationToken,
}

struct InFlight {
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    n_requests: usize,
    n_request_bytes: usize,
    n_streams: usize,
}

impl InFlight {
    fn may_read(&self) -> bool {
        self.n_requests < MAX_REQUESTS && self.n_request_bytes < MAX_REQUEST_BYTES
    }

    fn finish(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::Answered { n_bytes, result } => {
                self.n_requests -= 1;
                self.n_request_bytes -= n_bytes;
                Ok(result?)
            }
            Done::StreamEnded(result) => {
                self.n_streams -= 1;
                Ok(result?)
            }
            Done::Panicked => Err(End::Panic),
        }
    }
}

enum Read {
    /// There is a next frame.
    Begun,
    Frame(Received),
    Closed,
}

/// Reads the next frame; in a pause no more than its length, so that a client's end is seen.
async fn read<R: AsyncRead + Unpin>(
    reader: &mut FrameReader,
    socket: &mut R,
    pausing: bool,
) -> Result<Read, FrameError> {
    if pausing {
        return Ok(if reader.begin(socket).await? { Read::Begun } else { Read::Closed });
    }
    Ok(reader.next(socket).await?.map_or(Read::Closed, Read::Frame))
}

impl<S: Service> Requests<'_, S> {
    /// Serves until the connection has to end.
    pub(super) async fn run<R: AsyncRead + Unpin>(mut self, mut socket: R) -> End {
        let mut connection = self.service.open(self.session);
        let mut in_flight =
            InFlight { jobs: FuturesUnordered::new(), n_requests: 0, n_request_bytes: 0, n_streams: 0 };
        let mut reader =
            FrameReader::new(self.service.frame_cap(), self.timing.stall, self.large_frames.clone());
        // A debt of the principal outlives its connections.
        let mut pause = self.pace.before_reading();
        let mut expiry = Box::pin(self.expiry_timer());
        loop {
            let pausing = pause.is_some();
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(End::Stopped),
                // The sender's end means that the process stops; the token says so too.
                Ok(()) = self.policy.changed() => self.session.recheck().map_err(End::Cut),
                () = &mut expiry => {
                    expiry.set(self.expiry_timer());
                    self.session.recheck().map_err(End::Cut)
                }
                Some(done) = in_flight.jobs.next(), if !in_flight.jobs.is_empty() => in_flight.finish(done),
                () = pace::over(&mut pause), if pausing => {
                    pause = None;
                    Ok(())
                }
                read = read(&mut reader, &mut socket, pausing),
                    if in_flight.may_read() && !(pausing && reader.has_begun()) =>
                {
                    match read {
                        Ok(Read::Frame(frame)) => {
                            pause = self.pace.received(frame.bytes.len() + 4);
                            self.take(&mut connection, &mut in_flight, frame)
                        }
                        Ok(Read::Begun) => Ok(()),
                        Ok(Read::Closed) => Err(End::Client),
                        Err(error) => Err(End::Frame(error)),
                    }
                }
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn expiry_timer(&self) -> Sleep {
        let left = self.session.credential.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        sleep_until(Instant::now() + left.min(LONGEST_TIMER))
    }

    fn take(
        &self,
        connection: &mut S::Connection,
        in_flight: &mut InFlight,
        received: Received,
    ) -> Result<(), End> {
        let Received { bytes: frame, room } = received;
        let n_bytes = frame.len();
        let work =
            Request::parse(frame).map_err(Close::from).and_then(|request| self.call(connection, request));
        let work = work.inspect_err(|_| self.usage.request_errors.add(1))?;
        match work {
            Work::Reply(frame) => {
                if let Err(frame) = self.session.outbox.try_send(frame) {
                    self.later(in_flight, n_bytes, room, async { Ok(frame) }.boxed());
                }
            }
            Work::Later(answer) => self.later(in_flight, n_bytes, room, answer),
            Work::Stream(stream) => {
                if in_flight.n_streams >= MAX_STREAMS {
                    return Err(Close::TooMuch("streams").into());
                }
                in_flight.n_streams += 1;
                let job = AssertUnwindSafe(stream).catch_unwind();
                in_flight.jobs.push(job.map(|done| done.map_or(Done::Panicked, Done::StreamEnded)).boxed());
            }
        }
        Ok(())
    }

    fn later(
        &self,
        in_flight: &mut InFlight,
        n_bytes: usize,
        room: Option<OwnedSemaphorePermit>,
        answer: BoxFuture<'static, Result<Frame, Close>>,
    ) {
        in_flight.n_requests += 1;
        in_flight.n_request_bytes += n_bytes;
        let outbox = self.session.outbox.clone();
        let job = async move {
            let answer = answer.await?;
            drop(room);
            Ok(outbox.send(answer).await?)
        };
        let job = AssertUnwindSafe(job).catch_unwind();
        let done = move |done: std::thread::Result<Result<(), Close>>| match done {
            Ok(result) => Done::Answered { n_bytes, result },
            Err(_) => Done::Panicked,
        };
        in_flight.jobs.push(job.map(done).boxed());
    }

    /// A panic in a service is a bug; it costs this connection only.
    fn call(&self, connection: &mut S::Connection, request: Request) -> Result<Work, Close> {
        let call = AssertUnwindSafe(|| self.service.request(connection, request));
        std::panic::catch_unwind(call).unwrap_or(Err(Close::Malformed(Malformed::Panic)))
    }
}
