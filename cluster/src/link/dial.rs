//! The SPU's end: dial, say hello, and go on until the SC goes away; then again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::frames::{LinkError, read, write};
use super::message::{FromSc, FromSpu, OffsetsAnswer, VERSION, View};
use super::pump::Pump;
use super::{AnswerQueue, OffsetsCall, SpuLink};
use crate::internal::{Dialler, Stream};

/// First and longest pause before dialling again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long the SC may take to answer the hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reports wait this long for company, so that a busy SPU sends fifty frames a second and not fifty thousand.
const COALESCE: Duration = Duration::from_millis(20);

/// How long a consumer offset may take on its way to its leader and back.
const OFFSETS_PATIENCE: Duration = Duration::from_secs(10);

/// Answers about offsets that may wait to be sent.
const ANSWERS: usize = 64;

/// Keeps the link up until `stop`.
pub async fn keep_up(
    link: SpuLink,
    dialler: Dialler,
    mut offsets: mpsc::Receiver<OffsetsCall>,
    stop: CancellationToken,
) {
    let mut pause = PAUSES.0;
    let mut said = String::new();
    loop {
        let ended = tokio::select! {
            ended = one_connection(&link, &dialler, &mut offsets, &mut pause) => ended,
            () = stop.cancelled() => return,
        };
        link.shared.registered.send_replace(None);
        // Once for each new reason: an SC that is down for an hour is one line.
        let reason = ended.to_string();
        if said != reason {
            tracing::warn!(spu = link.name(), %reason, "no link to the SC, going on with what is known");
            said = reason;
        }
        tokio::select! {
            () = refuse_offsets(&mut offsets, pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// While there is no link, operations on another SPU's offsets fail at once rather than wait.
async fn refuse_offsets(offsets: &mut mpsc::Receiver<OffsetsCall>, pause: Duration) {
    let end = sleep(pause);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => return,
            Some(call) = offsets.recv() => drop(call),
        }
    }
}

/// One connection from hello to end; the end is always an error.
async fn one_connection(
    link: &SpuLink,
    dialler: &Dialler,
    offsets: &mut mpsc::Receiver<OffsetsCall>,
    pause: &mut Duration,
) -> LinkError {
    let stream = match dialler.dial().await {
        Ok(stream) => stream,
        Err(error) => return error.into(),
    };
    let beats = !stream.is_within_process();
    let (mut reader, mut writer) = tokio::io::split(stream);
    match timeout(PATIENCE, greet(link, &mut reader, &mut writer)).await {
        Ok(Ok(())) => *pause = PAUSES.0,
        Ok(Err(error)) => return error,
        Err(_) => return LinkError::TimedOut,
    }
    let sc = Pump::start(reader, writer, beats);
    let answers = mpsc::channel(ANSWERS);
    let session = Session { link, sc, next_id: 0, waiting: Vec::new(), answers, tasks: JoinSet::new() };
    session.run(offsets).await
}

async fn greet(
    link: &SpuLink,
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
) -> Result<(), LinkError> {
    let hello = FromSpu::Hello {
        version: VERSION,
        name: link.name().into(),
        assignments: link.shared.view.borrow().assignments.values().cloned().collect(),
        generation: link.shared.settings.borrow().as_ref().map_or(0, |settings| settings.generation),
        peer: link.shared.own_peer.clone(),
        fresh: !link.shared.came.load(Ordering::Relaxed),
    };
    write(writer, &hello).await?;
    match read(reader).await? {
        Some(FromSc::Welcome { spu }) => {
            link.shared.registered.send_replace(Some(spu));
            link.shared.came.store(true, Ordering::Relaxed);
            // The SC knows nothing of this SPU yet: everything is news.
            link.tell(|outbox| outbox.changed = outbox.reports.keys().cloned().collect());
            tracing::info!(spu = link.name(), id = spu, "registered with the SC");
            Ok(())
        }
        Some(FromSc::Refused(reason)) => Err(LinkError::Refused(reason)),
        Some(_) => Err(LinkError::Order("another message than a welcome")),
        None => Err(LinkError::Order("nothing after the hello")),
    }
}

struct Session<'a> {
    link: &'a SpuLink,
    sc: Pump<FromSc, FromSpu>,
    next_id: u64,
    /// Operations that the SC has been asked for.
    waiting: Vec<Waiting>,
    /// Answers that this SPU gives as the leader of the offsets.
    answers: AnswerQueue,
    /// Operations that this SPU does as the leader of the offsets.
    tasks: JoinSet<()>,
}

struct Waiting {
    id: u64,
    until: Instant,
    reply: oneshot::Sender<OffsetsAnswer>,
}

impl Session<'_> {
    async fn run(mut self, offsets: &mut mpsc::Receiver<OffsetsCall>) -> LinkError {
        let mut not_before = Instant::now();
        loop {
            let step = tokio::select! {
                message = self.sc.next() => message.map(|message| self.obey(message)),
                Some(call) = offsets.recv() => self.ask(call).await,
                Some((id, answer)) = self.answers.1.recv() =>
                    self.sc.send(FromSpu::OffsetsAnswer { id, answer }).await,
                () = news(self.link, not_before) => {
                    not_before = Instant::now() + COALESCE;
                    self.tell_news().await
                }
                Some(_) = self.tasks.join_next() => Ok(()),
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    async fn ask(&mut self, call: OffsetsCall) -> Result<(), LinkError> {
        let now = Instant::now();
        self.waiting.retain(|waiting| waiting.until > now && !waiting.reply.is_closed());
        self.next_id += 1;
        self.waiting.push(Waiting { id: self.next_id, until: now + OFFSETS_PATIENCE, reply: call.reply });
        let id = self.next_id;
        self.sc.send(FromSpu::Offsets { id, request: call.request }).await
    }

    async fn tell_news(&mut self) -> Result<(), LinkError> {
        let (reports, settings, view, in_sync) = self.link.outbox(|outbox| {
            let changed = std::mem::take(&mut outbox.changed);
            let reports: Vec<_> = changed.iter().filter_map(|key| outbox.reports.get(key).cloned()).collect();
            let in_sync = std::mem::take(&mut outbox.in_sync);
            (reports, outbox.settings_applied.take(), outbox.view_applied.take(), in_sync)
        });
        for asked in in_sync.into_values() {
            self.sc.send(FromSpu::InSync(asked)).await?;
        }
        // Reports first: whoever waits for the view to be in force then finds the partitions' states, too.
        if !reports.is_empty() {
            self.sc.send(FromSpu::Report(reports)).await?;
        }
        if let Some(generation) = settings {
            self.sc.send(FromSpu::SettingsApplied(generation)).await?;
        }
        if let Some(revision) = view {
            self.sc.send(FromSpu::ViewApplied(revision)).await?;
        }
        Ok(())
    }

    fn obey(&mut self, message: FromSc) {
        let shared = &self.link.shared;
        match message {
            FromSc::Settings(settings) => {
                shared.settings.send_replace(Some(Arc::from(settings)));
            }
            FromSc::View(change) => {
                let view = shared.view.borrow().after(change);
                self.forget_reports(&view);
                shared.view.send_replace(Arc::new(view));
            }
            FromSc::Peers(news) => shared.peers.send_modify(|peers| Arc::make_mut(peers).extend(news)),
            FromSc::StorageElsewhere(bytes) => {
                shared.storage_elsewhere.send_replace(bytes);
            }
            FromSc::Offsets { id, request } => self.serve(id, request),
            FromSc::OffsetsAnswer { id, answer } => {
                if let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) {
                    // The asker may have given up; nobody else wants the answer.
                    let _ = self.waiting.swap_remove(at).reply.send(answer);
                }
            }
            FromSc::Welcome { .. } | FromSc::Refused(_) => {
                tracing::warn!("the SC greeted twice");
            }
            FromSc::Beat => {}
        }
    }

    fn forget_reports(&self, view: &View) {
        self.link.outbox(|outbox| {
            outbox.reports.retain(|key, report| {
                view.assignments.get(key).is_some_and(|kept| kept.topic_id == report.topic_id)
            });
        });
    }

    /// Hands an operation to the SPU's own offsets and sends what it says.
    fn serve(&mut self, id: u64, request: super::OffsetsRequest) {
        let (reply, answer) = oneshot::channel();
        let not_now = |why: &str| OffsetsAnswer::NotNow(why.into());
        let queued = self.link.shared.offsets_in.try_send(OffsetsCall { request, reply });
        let answers = self.answers.0.clone();
        self.tasks.spawn(async move {
            let answer = match queued {
                Ok(()) => match timeout(OFFSETS_PATIENCE, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => not_now("this SPU does not lead the consumer offsets now"),
                    Err(_) => not_now("the consumer offsets did not answer in time"),
                },
                Err(_) => not_now("too many operations on consumer offsets wait already"),
            };
            // A closed channel means that the link is gone, and with it whoever asked.
            let _ = answers.send((id, answer)).await;
        });
    }
}

/// Returns when there is something to tell and the last telling is long enough ago.
async fn news(link: &SpuLink, not_before: Instant) {
    loop {
        let waits = link.outbox(|outbox| {
            !(outbox.changed.is_empty()
                && outbox.in_sync.is_empty()
                && outbox.settings_applied.is_none()
                && outbox.view_applied.is_none())
        });
        if waits {
            return sleep_until(not_before).await;
        }
        link.shared.wake.notified().await;
    }
}
