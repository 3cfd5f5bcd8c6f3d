//! Sends batches and counts their acknowledgements; when something breaks it finds the way anew and sends again
//! exactly what was not acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fluvio::{FluvioClusterConfig, Isolation};
use fluvio_socket::{AsyncResponse, SocketError, VersionedSerialSocket};
use fluvio_spu_schema::produce::{
    DefaultPartitionRequest, DefaultProduceRequest, DefaultTopicRequest, ProduceResponse,
};
use futures_util::Future;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::batch::Packed;
use super::stored::{Stored, stored};
use super::verdict::{Refusal, judge};
use super::window::{Acknowledged, Carried, Window};
use crate::failure::Failure;
use crate::output::progress::warn;
use crate::streams::routes::Routes;
use crate::streams::target::causes;

/// An SPU that says nothing for this long is given up, as the published client does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How a run is carried out.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The topic.
    pub topic: String,
    /// What an acknowledgement has to mean.
    pub isolation: Isolation,
    /// How long the server may take over a request.
    pub timeout: Duration,
    /// Bytes of one request, about.
    pub request_bytes: usize,
    /// Bytes that may be unacknowledged before reading stops.
    pub window_bytes: usize,
    /// Requests on their way for one partition.
    pub in_flight: usize,
    /// How long to go on without a single acknowledgement.
    pub patience: Duration,
}

/// What became of the records.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Records that are stored.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Records that were sent once more.
    pub again: u64,
}

/// One run.
pub struct Delivery<'a> {
    config: &'a FluvioClusterConfig,
    terms: Terms,
    routes: Routes,
    lanes: BTreeMap<i32, Lane>,
    window: Window,
    /// Behind the last batch that is known to be stored, by partition.
    behind: BTreeMap<u32, i64>,
    tally: Tally,
    trouble: Option<Trouble>,
    /// Troubles since the last acknowledgement: each makes the next pause longer.
    setbacks: u32,
    last_progress: Instant,
}

/// The connection to one SPU.
struct Lane {
    socket: VersionedSerialSocket,
    sent: VecDeque<Sent>,
}

/// A request that is on its way.
struct Sent {
    answer: Pin<Box<AsyncResponse<DefaultProduceRequest>>>,
    carried: Carried,
    since: Instant,
}

/// Something is wrong, and when to look for the way again.
struct Trouble {
    why: String,
    until: Instant,
}

type Answer = Result<ProduceResponse, SocketError>;

enum Event {
    Fed(Option<Packed>),
    Answered(i32, Answer),
    LookAgain,
    TooLong,
}

impl<'a> Delivery<'a> {
    /// A run over routes that were just found.
    pub fn new(config: &'a FluvioClusterConfig, terms: Terms, routes: Routes) -> Self {
        Self {
            config,
            terms,
            behind: routes.ends(),
            routes,
            lanes: BTreeMap::new(),
            window: Window::default(),
            tally: Tally::default(),
            trouble: None,
            setbacks: 0,
            last_progress: Instant::now(),
        }
    }

    /// Delivers all that comes; ends when it ended and every record is acknowledged, or when that cannot be done.
    pub async fn run(mut self, mut input: Receiver<Packed>) -> (Tally, Result<(), Failure>) {
        let mut open = true;
        loop {
            self.send_waiting().await;
            if !open && self.window.is_empty() {
                return (self.tally, Ok(()));
            }
            let handled = match self.next_event(&mut input, open).await {
                Event::Fed(Some(batch)) => {
                    self.take_in(batch, &mut input);
                    Ok(())
                }
                Event::Fed(None) => {
                    open = false;
                    Ok(())
                }
                Event::Answered(spu, answer) => self.settle(spu, answer),
                Event::LookAgain => self.look_again().await,
                Event::TooLong => self.give_up_the_silent(),
            };
            if let Err(failure) = handled {
                let counted = self.with_counts(&failure);
                return (self.tally, Err(failure.said_as(counted)));
            }
        }
    }

    /// Takes what has piled up along with the batch that came, so that one request carries it.
    fn take_in(&mut self, batch: Packed, input: &mut Receiver<Packed>) {
        if self.window.is_empty() {
            self.last_progress = Instant::now();
        }
        self.window.push(batch);
        while self.window.bytes() < self.terms.window_bytes {
            match input.try_recv() {
                Ok(batch) => self.window.push(batch),
                Err(_) => break,
            }
        }
    }

    async fn next_event(&mut self, input: &mut Receiver<Packed>, open: bool) -> Event {
        let room = self.window.bytes() < self.terms.window_bytes;
        let look = self.trouble.as_ref().map(|trouble| trouble.until);
        let silent = self.lanes.values().filter_map(|lane| lane.sent.front()).map(|sent| sent.since).min();
        let answers_end = silent.map(|since| since + ANSWER_TIMEOUT);
        let patience_ends = (!self.window.is_empty()).then(|| self.last_progress + self.terms.patience);
        let ends = answers_end.into_iter().chain(patience_ends).min();
        let far = Instant::now() + ANSWER_TIMEOUT;
        let lanes = &mut self.lanes;
        tokio::select! {
            (spu, answer) = poll_fn(|context| poll_answers(lanes, context)) => Event::Answered(spu, answer),
            batch = input.recv(), if open && room => Event::Fed(batch),
            () = sleep_until(look.unwrap_or(far)), if look.is_some() => Event::LookAgain,
            () = sleep_until(ends.unwrap_or(far)), if ends.is_some() => Event::TooLong,
        }
    }

    async fn send_waiting(&mut self) {
        // While the way is being looked for, what is on its way elsewhere goes on; nothing new is sent.
        if self.trouble.is_some() {
            return;
        }
        let mut by_leader: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        let waiting: Vec<u32> = self.window.waiting().collect();
        for partition in waiting {
            match self.routes.leader(partition) {
                Some(spu) => by_leader.entry(spu).or_default().push(partition),
                None => {
                    self.note_trouble(format!("partition {partition} has no leader"));
                    return;
                }
            }
        }
        for (spu, partitions) in by_leader {
            if let Err(failure) = self.send_to(spu, partitions).await {
                self.drop_lane(spu, failure.to_string());
                return;
            }
        }
    }

    async fn send_to(&mut self, spu: i32, partitions: Vec<u32>) -> Result<(), Failure> {
        if !self.lanes.contains_key(&spu) {
            let socket = self.routes.connect(self.config, spu).await?;
            self.lanes.insert(spu, Lane { socket, sent: VecDeque::new() });
        }
        loop {
            let allowed: Vec<u32> =
                partitions.iter().copied().filter(|partition| self.may_send(spu, *partition)).collect();
            let (batches, carried, again) = self.window.take(&allowed, self.terms.request_bytes);
            if batches.is_empty() {
                return Ok(());
            }
            self.tally.again += again;
            let request = self.request(batches);
            let Some(lane) = self.lanes.get_mut(&spu) else { return Ok(()) };
            let since = Instant::now();
            // Noted before it is sent: if sending fails half way, these batches are on their way for all we know.
            let sending = timeout(ANSWER_TIMEOUT, lane.socket.send_async(request)).await;
            let answer = match sending {
                Ok(Ok(answer)) => Box::pin(answer),
                Ok(Err(error)) => return Err(self.unsent(&carried, &causes(error))),
                Err(_) => return Err(self.unsent(&carried, "the SPU does not read")),
            };
            lane.sent.push_back(Sent { answer, carried, since });
        }
    }

    fn unsent(&mut self, carried: &Carried, why: &str) -> Failure {
        for (partition, _) in carried {
            self.window.rewind(*partition);
        }
        Failure::failed(why)
    }

    /// A partition goes through one connection at a time, with a bounded number of requests on their way.
    fn may_send(&self, spu: i32, partition: u32) -> bool {
        let on = |lane: &Lane| {
            let carries = |sent: &&Sent| sent.carried.iter().any(|(carried, _)| *carried == partition);
            lane.sent.iter().filter(carries).count()
        };
        let elsewhere = self.lanes.iter().any(|(other, lane)| *other != spu && on(lane) > 0);
        !elsewhere && self.lanes.get(&spu).map_or(0, on) < self.terms.in_flight
    }

    fn request(&self, batches: Vec<Packed>) -> DefaultProduceRequest {
        let mut topic = DefaultTopicRequest { name: self.terms.topic.clone(), ..Default::default() };
        for packed in batches {
            let mut entry =
                DefaultPartitionRequest { partition_index: packed.partition, ..Default::default() };
            entry.records.batches.push(packed.batch);
            topic.partitions.push(entry);
        }
        DefaultProduceRequest {
            isolation: self.terms.isolation,
            timeout: self.terms.timeout,
            topics: vec![topic],
            ..Default::default()
        }
    }

    fn settle(&mut self, spu: i32, answer: Answer) -> Result<(), Failure> {
        let Some(sent) = self.lanes.get_mut(&spu).and_then(|lane| lane.sent.pop_front()) else {
            return Ok(());
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let why = causes(error);
                self.unsent(&sent.carried, &why);
                self.drop_lane(spu, why);
                return Ok(());
            }
        };
        let fates = judge(&sent.carried, &answer);
        for fate in &fates {
            let done = self.window.acknowledge(fate.partition, fate.stored);
            self.behind.extend(fate.last_base.map(|base| (fate.partition, base + i64::from(done.last))));
            self.count(done);
        }
        for fate in fates {
            match fate.refusal {
                None => {}
                Some(Refusal::Passing(why)) => {
                    // Younger batches of it may be on their way behind this one: their answers must not count.
                    self.window.rewind(fate.partition);
                    self.drop_lane(spu, why);
                }
                Some(Refusal::Final { why, fix }) => return Err(Failure::failed(why).with_fix(fix)),
            }
        }
        Ok(())
    }

    fn count(&mut self, done: Acknowledged) {
        if done.records > 0 {
            self.tally.records += done.records;
            self.tally.bytes += done.bytes;
            self.last_progress = Instant::now();
            self.setbacks = 0;
        }
    }

    /// Gives up a connection: what was on its way there waits to be sent again.
    fn drop_lane(&mut self, spu: i32, why: String) {
        if let Some(lane) = self.lanes.remove(&spu) {
            for (partition, _) in lane.sent.iter().flat_map(|sent| &sent.carried) {
                self.window.rewind(*partition);
            }
        }
        self.note_trouble(why);
    }

    fn note_trouble(&mut self, why: String) {
        if self.setbacks == 0 {
            warn(&format!("{why}; looking for the way again"));
        }
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.setbacks)).min(LONGEST_PAUSE);
        self.setbacks = self.setbacks.saturating_add(1);
        self.trouble = Some(Trouble { why, until: Instant::now() + pause });
    }

    async fn look_again(&mut self) -> Result<(), Failure> {
        self.check_patience()?;
        match Routes::find(self.config, &self.terms.topic).await {
            Ok(routes) => {
                let waiting: Vec<u32> = self.window.waiting().collect();
                let missing = waiting.iter().find(|partition| routes.leader(**partition).is_none());
                if let Some(partition) = missing {
                    self.note_trouble(format!("partition {partition} has no leader"));
                    return Ok(());
                }
                self.routes = routes;
                let reached = match self.reach(&waiting).await {
                    None => self.resolve_doubts().await,
                    trouble => trouble,
                };
                match reached {
                    Some(trouble) => self.note_trouble(trouble),
                    None => self.trouble = None,
                }
            }
            Err(failure) => self.note_trouble(failure.to_string()),
        }
        Ok(())
    }

    /// Opens the connections that are needed now; answers what stands in the way.
    async fn reach(&mut self, partitions: &[u32]) -> Option<String> {
        for partition in partitions {
            let Some(spu) = self.routes.leader(*partition) else { continue };
            if self.lanes.contains_key(&spu) {
                continue;
            }
            match self.routes.connect(self.config, spu).await {
                Ok(socket) => self.lanes.insert(spu, Lane { socket, sent: VecDeque::new() }),
                Err(failure) => return Some(failure.to_string()),
            };
        }
        None
    }

    /// Finds out which of the batches whose answers were lost are stored; says what stands in the way.
    async fn resolve_doubts(&mut self) -> Option<String> {
        for partition in self.window.in_doubt() {
            let Some(spu) = self.routes.leader(partition) else { continue };
            let Some(lane) = self.lanes.get(&spu) else { continue };
            let from = self.behind.get(&partition).copied().unwrap_or(0);
            let sent = self.window.doubtful(partition);
            match stored(&lane.socket, &self.terms.topic, partition, from, &sent).await {
                Ok(Stored { count, behind }) => {
                    self.behind.insert(partition, behind);
                    let done = self.window.resolve(partition, count);
                    self.count(done);
                }
                Err(why) => return Some(why),
            }
        }
        None
    }

    fn give_up_the_silent(&mut self) -> Result<(), Failure> {
        self.check_patience()?;
        let too_old =
            |lane: &Lane| lane.sent.front().is_some_and(|sent| sent.since.elapsed() >= ANSWER_TIMEOUT);
        let silent: Vec<i32> =
            self.lanes.iter().filter(|(_, lane)| too_old(lane)).map(|(spu, _)| *spu).collect();
        for spu in silent {
            self.drop_lane(spu, format!("the SPU did not answer for {} seconds", ANSWER_TIMEOUT.as_secs()));
        }
        Ok(())
    }

    fn check_patience(&self) -> Result<(), Failure> {
        if self.window.is_empty() || self.last_progress.elapsed() < self.terms.patience {
            return Ok(());
        }
        let why = self.trouble.as_ref().map_or("the cluster does not answer", |trouble| trouble.why.as_str());
        Err(Failure::failed(format!(
            "no record was acknowledged for {} seconds: {why}",
            self.terms.patience.as_secs()
        ))
        .with_fix("check the cluster, then send what is missing"))
    }

    fn with_counts(&self, failure: &Failure) -> String {
        format!(
            "{failure} ({} records are stored, {} more that were read are not known to be)",
            self.tally.records,
            self.window.records()
        )
    }
}

/// The first answer to the oldest request of any connection.
fn poll_answers(lanes: &mut BTreeMap<i32, Lane>, context: &mut Context<'_>) -> Poll<(i32, Answer)> {
    for (spu, lane) in lanes.iter_mut() {
        if let Some(sent) = lane.sent.front_mut()
            && let Poll::Ready(answer) = sent.answer.as_mut().poll(context)
        {
            return Poll::Ready((*spu, answer));
        }
    }
    Poll::Pending
}
