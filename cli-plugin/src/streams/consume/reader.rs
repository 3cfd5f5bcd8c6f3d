//! Reads one partition, across broken connections, without a gap and without repeating a record.
//!
//! The published client's own consumer resumes all partitions of a topic at the one offset it saw last, and ends a
//! read-to-the-end (`-d`) as if all were well when its connection breaks. So this uses the client's sockets and request
//! types, and keeps the position of each partition itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fluvio::dataplane::api::Request;
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::{Batch, RawRecords};
use fluvio::{FluvioClusterConfig, Isolation};
use fluvio_socket::{AsyncResponse, SocketError, VersionedSerialSocket};
use fluvio_spu_schema::server::consumer_offset::UpdateConsumerOffsetRequest;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::{DefaultStreamFetchRequest, DefaultStreamFetchResponse};
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use futures_util::StreamExt;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, interval, sleep, timeout};

use super::start::{Held, Start};
use super::unpack::end_of;
use crate::failure::Failure;
use crate::output::progress::warn;
use crate::streams::routes::Routes;
use crate::streams::target::causes;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const KEEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a named consumer's position is kept while it reads.
const KEEP_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The client's own length for a stream's queue.
const QUEUE: usize = 10;

/// What all partitions' readers are told.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The cluster.
    pub config: FluvioClusterConfig,
    /// The topic.
    pub topic: String,
    /// Where to start.
    pub start: Start,
    /// Whether to go on after the end.
    pub follow: bool,
    /// The consumer whose position is kept.
    pub consumer: Option<String>,
    /// Which records are shown.
    pub isolation: Isolation,
    /// Bytes to fetch at once.
    pub max_bytes: i32,
    /// How long to look for a lost way.
    pub patience: Duration,
}

/// What a reader hands over.
pub enum Fed {
    /// Batches of a partition, to be shown from this offset on.
    Batches(u32, i64, Vec<Batch<RawRecords>>),
    /// The partition was read to the end that was asked for.
    End,
    /// It cannot be read any further.
    Failed(Failure),
}

/// The reader of one partition.
pub struct Reader {
    terms: Arc<Terms>,
    partition: u32,
    out: Sender<Fed>,
    /// The offset after the last record that was written out; negative before the first.
    written: Arc<AtomicI64>,
    /// The way as it was found before the start; after a break it is looked for anew.
    routes: Option<Arc<Routes>>,
    /// The last record the named consumer read in an earlier run.
    left_off: Option<i64>,
    position: Option<Position>,
    kept: i64,
    /// When a batch last came, or the way was last found.
    well: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    next: i64,
    stop: Option<i64>,
}

/// Why a connection's reading ended.
enum Break {
    /// The end that was asked for.
    Done,
    /// Nobody listens any more.
    Unheard,
    /// It may go on over another connection.
    Passing(String),
    /// It never will.
    Final(Failure),
}

type Responses = Pin<Box<AsyncResponse<DefaultStreamFetchRequest>>>;

impl Reader {
    /// A reader that hands over to `out` and learns through `written` what became of it.
    pub fn new(
        terms: Arc<Terms>,
        routes: Arc<Routes>,
        partition: u32,
        left_off: Option<i64>,
        out: Sender<Fed>,
        written: Arc<AtomicI64>,
    ) -> Self {
        let (routes, well) = (Some(routes), Instant::now());
        Self { terms, partition, out, written, routes, left_off, position: None, kept: -1, well }
    }

    /// Reads until the end or until nobody listens; then keeps the consumer's position a last time.
    pub async fn run(mut self) -> Result<(), Failure> {
        let mut setbacks = 0_u32;
        loop {
            let before = self.position.map(|position| position.next);
            let why = match self.read_over_one_connection().await {
                Break::Done => {
                    let _unheard = self.out.send(Fed::End).await;
                    return self.part().await;
                }
                Break::Unheard => return self.part().await,
                Break::Final(failure) => return self.fail(failure).await,
                Break::Passing(why) => why,
            };
            if self.position.map(|position| position.next) != before {
                setbacks = 0;
            }
            if setbacks == 0 {
                warn(&format!("partition {}: {why}; looking for the way again", self.partition));
            }
            if self.well.elapsed() > self.terms.patience {
                return self.fail(self.lost(&why)).await;
            }
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(setbacks)).min(LONGEST_PAUSE);
            setbacks = setbacks.saturating_add(1);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.out.closed() => return self.part().await,
            }
        }
    }

    /// Tells the failure to whoever listens, or hands it back if nobody does.
    async fn fail(&self, failure: Failure) -> Result<(), Failure> {
        match self.out.send(Fed::Failed(failure)).await {
            Err(SendError(Fed::Failed(failure))) => Err(failure),
            _ => Ok(()),
        }
    }

    fn lost(&self, why: &str) -> Failure {
        let seconds = self.terms.patience.as_secs();
        Failure::failed(format!(
            "partition {} could not be read for {seconds} seconds: {why}",
            self.partition
        ))
        .with_fix(
            "check the cluster and the profile: fluvio cloud cluster list, fluvio cloud cluster sync --renew",
        )
    }

    async fn read_over_one_connection(&mut self) -> Break {
        match self.open().await {
            Ok((socket, responses)) => {
                self.well = Instant::now();
                let ended = self.read(&socket, responses).await;
                // Whatever comes next, the time without a connection counts from here.
                self.well = Instant::now();
                ended
            }
            Err(ended) => ended,
        }
    }

    async fn open(&mut self) -> Result<(VersionedSerialSocket, Responses), Break> {
        let routes = match self.routes.take() {
            Some(routes) => routes,
            None => Arc::new(self.look_for_the_way().await?),
        };
        let leader = routes.leader(self.partition);
        let leader = leader.ok_or_else(|| Break::Passing("it has no leader".to_owned()))?;
        let socket = routes
            .connect(&self.terms.config, leader)
            .await
            .map_err(|failure| Break::Passing(failure.to_string()))?;
        let held = self.held(&socket).await?;
        let position = match self.position {
            Some(position) => position,
            None => {
                let next = self.terms.start.resolve(held, self.left_off);
                Position { next, stop: (!self.terms.follow).then_some(held.end) }
            }
        };
        let position = self.skip_evicted(position, held);
        self.position = Some(position);
        if position.stop.is_some_and(|stop| position.next >= stop) {
            return Err(Break::Done);
        }
        let request = DefaultStreamFetchRequest::builder()
            .topic(self.terms.topic.clone())
            .partition(self.partition)
            .fetch_offset(position.next)
            .isolation(self.terms.isolation)
            .max_bytes(self.terms.max_bytes)
            .consumer_id(self.terms.consumer.clone())
            .build()
            .map_err(|error| {
                Break::Final(Failure::failed(format!("the request could not be made: {error}")))
            })?;
        let request = socket.new_request(request, socket.lookup_version::<DefaultStreamFetchRequest>());
        let opening = timeout(ANSWER_TIMEOUT, socket.create_stream(request, QUEUE)).await;
        match opening {
            Ok(Ok(responses)) => Ok((socket, Box::pin(responses))),
            Ok(Err(error)) => Err(passing(error)),
            Err(_) => Err(Break::Passing("the SPU does not read".to_owned())),
        }
    }

    async fn look_for_the_way(&self) -> Result<Routes, Break> {
        Routes::find(&self.terms.config, &self.terms.topic)
            .await
            .map_err(|failure| Break::Passing(failure.to_string()))
    }

    async fn held(&self, socket: &VersionedSerialSocket) -> Result<Held, Break> {
        let request = FetchOffsetsRequest::new(self.terms.topic.clone(), self.partition);
        let answer = ask(socket, request).await?;
        let found = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        let found = found.ok_or_else(|| Break::Passing("the SPU told no offsets".to_owned()))?;
        match &found.error_code {
            ErrorCode::None => Ok(Held { oldest: found.start_offset, end: found.last_stable_offset }),
            code => Err(weigh(code)),
        }
    }

    fn skip_evicted(&self, mut position: Position, held: Held) -> Position {
        if position.next < held.oldest {
            warn(&format!(
                "partition {}: records {} to {} are gone by retention",
                self.partition,
                position.next,
                held.oldest - 1
            ));
            position.next = held.oldest;
        }
        position
    }

    async fn read(&mut self, socket: &VersionedSerialSocket, mut responses: Responses) -> Break {
        let mut session = None;
        let mut keeping = interval(KEEP_EVERY);
        loop {
            let response = tokio::select! {
                response = responses.next() => response,
                () = self.out.closed() => return self.keep_and(socket, session, Break::Unheard).await,
                _ = keeping.tick(), if self.terms.consumer.is_some() => {
                    if let Err(ended) = self.keep(socket, session).await {
                        return ended;
                    }
                    continue;
                }
            };
            let response = match response {
                Some(Ok(response)) => response,
                Some(Err(error)) => return passing(error),
                None => return Break::Passing("the other side closed the connection".to_owned()),
            };
            session = Some(response.stream_id);
            if let Err(ended) = self.hand_over(socket, response).await {
                return match ended {
                    Break::Done => self.finish(socket, session).await,
                    Break::Unheard => self.keep_and(socket, session, Break::Unheard).await,
                    other => other,
                };
            }
        }
    }

    /// Acknowledges a response, so that the next one is on its way, and hands its batches over.
    async fn hand_over(
        &mut self,
        socket: &VersionedSerialSocket,
        response: DefaultStreamFetchResponse,
    ) -> Result<(), Break> {
        let Some(position) = &mut self.position else { return Ok(()) };
        let fetched = response.partition;
        if fetched.error_code != ErrorCode::None {
            return Err(weigh(&fetched.error_code));
        }
        let from = position.next;
        let reached = fetched.next_offset_for_fetch();
        let ends = fetched.records.batches.iter().map(end_of).chain(reached).max();
        position.next = ends.unwrap_or(from).max(from);
        let (next, done) = (position.next, position.stop.is_some_and(|stop| position.next >= stop));
        let update = OffsetUpdate { offset: next, session_id: response.stream_id };
        let asked = if done {
            Ok(())
        } else {
            ask(socket, UpdateOffsetsRequest { offsets: vec![update] }).await.map(drop)
        };
        // The position is past these batches already, so they go out even if asking for more has failed.
        let batches = fetched.records.batches;
        self.out.send(Fed::Batches(self.partition, from, batches)).await.map_err(|_| Break::Unheard)?;
        if done { Err(Break::Done) } else { asked }
    }

    /// At the end of a partition that is read to its end: says so, and waits until all of it is written.
    async fn finish(&mut self, socket: &VersionedSerialSocket, session: Option<u32>) -> Break {
        if self.terms.consumer.is_none() {
            return Break::Done;
        }
        if self.out.send(Fed::End).await.is_ok() {
            self.out.closed().await;
        }
        self.keep_and(socket, session, Break::Unheard).await
    }

    async fn keep_and(
        &mut self,
        socket: &VersionedSerialSocket,
        session: Option<u32>,
        ended: Break,
    ) -> Break {
        match self.keep(socket, session).await {
            Ok(()) => ended,
            Err(Break::Passing(why)) => Break::Final(not_kept(&why)),
            Err(other) => other,
        }
    }

    /// Keeps the position of a named consumer: behind what was written out, never ahead of it.
    async fn keep(&mut self, socket: &VersionedSerialSocket, session: Option<u32>) -> Result<(), Break> {
        let written = self.written.load(Ordering::Acquire);
        let (Some(session_id), true) = (session, self.terms.consumer.is_some() && written > self.kept) else {
            return Ok(());
        };
        let keeping = ask(socket, UpdateConsumerOffsetRequest { offset: written - 1, session_id });
        let answer =
            timeout(KEEP_TIMEOUT, keeping).await.map_err(|_| Break::Passing("no answer".to_owned()))??;
        if answer.error_code != ErrorCode::None {
            return Err(weigh(&answer.error_code));
        }
        self.kept = written;
        Ok(())
    }

    /// What was written but could not be kept, because its connection was gone, is said at parting.
    async fn part(&self) -> Result<(), Failure> {
        self.out.closed().await;
        let written = self.written.load(Ordering::Acquire);
        let unkept = self.terms.consumer.is_some() && written > self.kept && written > 0;
        if unkept { Err(not_kept("the connection was lost before")) } else { Ok(()) }
    }
}

/// Asks an SPU something and waits for the answer, not for ever.
async fn ask<R: Request + Send + Sync>(
    socket: &VersionedSerialSocket,
    request: R,
) -> Result<R::Response, Break> {
    match timeout(ANSWER_TIMEOUT, socket.send_receive(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(passing(error)),
        Err(_) => Err(Break::Passing("the SPU does not answer".to_owned())),
    }
}

fn passing(error: SocketError) -> Break {
    Break::Passing(causes(error))
}

fn not_kept(why: &str) -> Failure {
    Failure::failed(format!("the consumer's position was not kept: {why}"))
        .with_fix("what was printed last will come again next time")
}

/// What an SPU's error means for the reading.
fn weigh(code: &ErrorCode) -> Break {
    let fix = match code {
        ErrorCode::PermissionDenied => "use a profile whose certificate may read this topic",
        ErrorCode::TopicNotFound | ErrorCode::TopicDeleted => "fluvio topic list",
        ErrorCode::OffsetManagementDisabled => "leave --consumer away: this cluster keeps no positions",
        // Evicted records, a moved leader, a restart: the next connection asks again where things are.
        other => return Break::Passing(other.to_string()),
    };
    Break::Final(Failure::failed(format!("reading stopped: {code}")).with_fix(fix))
}
