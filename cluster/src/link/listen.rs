//! The SC's end: takes SPUs in, tells them what to keep, and hears how it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_settings::Settings;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::frames::{LinkError, read, write};
use super::message::{
    FromSc, FromSpu, Leader, OffsetsAnswer, PartitionKey, VERSION, VERSION_MIN, VERSION_WITH_BEATS,
    VERSION_WITH_MOVES, VERSION_WITH_PEERS, ViewChange,
};
use super::pump::Pump;
use super::{AnswerQueue, OffsetsCall, Relay};
use crate::internal::{Listener, Stream};
use crate::sc::metadata::{Metadata, Placement, Topic};
use crate::sc::state::State;
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::sc::{Sc, SpuHello};
use crate::wire::admin::qualified_name;

/// How long an SPU may take to say hello.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an SPU waits for settings that name it; less than its own patience with the welcome.
const SETTINGS_PATIENCE: Duration = Duration::from_secs(8);

/// Connections at a time; a cluster has fewer SPUs.
const CONNECTIONS: usize = 256;

/// Answers about offsets that may wait to be sent.
const ANSWERS: usize = 64;

/// Operations on consumer offsets that one SPU may have under way.
const RELAYED: usize = 256;

/// A change of the others' storage below this share of itself is not worth a frame.
const STORAGE_NEWS_SHARE: u64 = 64;

/// Serves the link socket until `stop`.
pub async fn serve(mut listener: Listener, sc: Sc, relay: Arc<Relay>, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    let sessions = AtomicU64::new(0);
    loop {
        tokio::select! {
            stream = listener.accept(), if tasks.len() < CONNECTIONS => {
                let session = sessions.fetch_add(1, Ordering::Relaxed);
                tasks.spawn(one_spu(stream, sc.clone(), relay.clone(), session));
            }
            Some(_) = tasks.join_next() => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn one_spu(stream: Stream, sc: Sc, relay: Arc<Relay>, session: u64) {
    let within_process = stream.is_within_process();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (spu, version) = match timeout(PATIENCE, welcome(&mut reader, &mut writer, &sc, session)).await {
        Ok(Ok(welcomed)) => welcomed,
        Ok(Err(error)) => return tracing::debug!(%error, "an SPU was not registered"),
        Err(_) => return tracing::warn!("an SPU did not say hello in time"),
    };
    tracing::info!(spu, "the SPU is registered");
    let calls = relay.register(spu);
    let beats = version >= VERSION_WITH_BEATS && !within_process;
    let state = sc.state();
    let end = SpuSession {
        spu,
        session,
        sc: sc.clone(),
        relay,
        link: Pump::start(reader, writer, beats),
        state,
        version,
        told: Told::default(),
        next_id: 0,
        waiting: BTreeMap::new(),
        answers: mpsc::channel(ANSWERS),
        tasks: JoinSet::new(),
    }
    .run(calls)
    .await;
    tracing::info!(spu, reason = %end, "the link to the SPU ended");
    sc.spu_went(spu, session).await;
}

async fn welcome(
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    sc: &Sc,
    session: u64,
) -> Result<(i32, u32), LinkError> {
    let Some(FromSpu::Hello { version, name, assignments, generation, peer, fresh }) = read(reader).await?
    else {
        return Err(LinkError::Order("another message than a hello"));
    };
    let registered = if (VERSION_MIN..=VERSION).contains(&version) {
        named_in_settings(sc, &name).await;
        let knows_moves = version >= VERSION_WITH_MOVES;
        sc.spu_came(SpuHello { name, held: assignments, generation, session, peer, fresh, knows_moves }).await
    } else {
        Err(format!("the SPU speaks version {version} of the link and the SC version {VERSION}"))
    };
    match registered {
        Ok(spu) => write(writer, &FromSc::Welcome { spu }).await.map(|()| (spu, version)),
        Err(reason) => {
            write(writer, &FromSc::Refused(reason.clone())).await?;
            Err(LinkError::Refused(reason))
        }
    }
}

/// Waits until the settings name the SPU: at the first start it comes before they do, and sending it away would
/// cost it a pause. If they do not come, it is told why.
async fn named_in_settings(sc: &Sc, name: &str) {
    let mut state = sc.state();
    let named = state.wait_for(|state| {
        state.settings.as_ref().is_some_and(|settings| settings.spus.iter().any(|spu| spu.name == name))
    });
    if timeout(SETTINGS_PATIENCE, named).await.is_err() {
        tracing::debug!(spu = name, "the settings do not name it");
    }
}

/// What an SPU has been told so far.
#[derive(Debug, Default)]
struct Told {
    generation: Option<u64>,
    metadata: Option<Arc<Metadata>>,
    storage_elsewhere: u64,
    peers: Arc<BTreeMap<i32, String>>,
    /// Retired incarnations by the revision with which they were sent, until the SPU confirms it.
    retired: BTreeMap<u64, BTreeSet<Uuid>>,
}

struct SpuSession {
    spu: i32,
    session: u64,
    /// The messages' version that it speaks.
    version: u32,
    sc: Sc,
    relay: Arc<Relay>,
    link: Pump<FromSpu, FromSc>,
    state: watch::Receiver<Arc<State>>,
    told: Told,
    next_id: u64,
    /// Operations that this SPU was asked to do.
    waiting: BTreeMap<u64, oneshot::Sender<OffsetsAnswer>>,
    /// Answers for this SPU from the one that leads the offsets.
    answers: AnswerQueue,
    /// Operations that this SPU asked for.
    tasks: JoinSet<()>,
}

impl SpuSession {
    async fn run(mut self, mut calls: mpsc::Receiver<OffsetsCall>) -> LinkError {
        self.state.mark_changed();
        loop {
            let step = tokio::select! {
                changed = self.state.changed() => match changed {
                    Ok(()) => self.tell_news().await,
                    Err(_) => Err(LinkError::Away),
                },
                message = self.link.next() => match message {
                    Ok(message) => self.hear(message).await,
                    Err(error) => Err(error),
                },
                call = calls.recv() => match call {
                    Some(call) => self.ask(call).await,
                    // A newer connection of the same SPU took its place.
                    None => Err(LinkError::Order("a second connection")),
                },
                Some((id, answer)) = self.answers.1.recv() => self.answer(id, answer).await,
                Some(_) = self.tasks.join_next() => Ok(()),
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    async fn tell_news(&mut self) -> Result<(), LinkError> {
        let state = self.state.borrow_and_update().clone();
        if let Some(settings) = &state.settings
            && self.told.generation != Some(settings.generation)
        {
            if settings.spus.iter().all(|entry| entry.id != self.spu) {
                return Err(LinkError::Refused("the settings no longer name this SPU".into()));
            }
            self.told.generation = Some(settings.generation);
            self.link.send(FromSc::Settings(Box::new(Settings::clone(settings)))).await?;
        }
        if self.version >= VERSION_WITH_PEERS && self.told.peers != state.peers {
            self.told.peers = state.peers.clone();
            self.link.send(FromSc::Peers(BTreeMap::clone(&state.peers))).await?;
        }
        // An SC that is still gathering what SPUs hold would tell them to keep nothing.
        if state.open {
            self.tell_view(&state).await?;
        }
        self.tell_storage(&state).await
    }

    async fn tell_view(&mut self, state: &State) -> Result<(), LinkError> {
        let before = self.told.metadata.replace(state.metadata.clone());
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &state.metadata)) {
            return Ok(());
        }
        if let Some(change) = view_change(self.spu, before.as_deref(), &state.metadata) {
            self.told.retired.insert(change.revision, change.retired.clone());
            self.link.send(FromSc::View(change)).await?;
        }
        Ok(())
    }

    async fn tell_storage(&mut self, state: &State) -> Result<(), LinkError> {
        let elsewhere = state.stored.iter().filter(|(spu, _)| **spu != self.spu);
        let bytes = elsewhere.map(|(_, bytes)| bytes).sum();
        let told = self.told.storage_elsewhere;
        if told.abs_diff(bytes) <= told / STORAGE_NEWS_SHARE {
            return Ok(());
        }
        self.told.storage_elsewhere = bytes;
        self.link.send(FromSc::StorageElsewhere(bytes)).await
    }

    async fn ask(&mut self, call: OffsetsCall) -> Result<(), LinkError> {
        self.waiting.retain(|_, reply| !reply.is_closed());
        self.next_id += 1;
        self.waiting.insert(self.next_id, call.reply);
        let id = self.next_id;
        self.link.send(FromSc::Offsets { id, request: call.request }).await
    }

    async fn answer(&mut self, id: u64, answer: OffsetsAnswer) -> Result<(), LinkError> {
        let answer = match answer {
            OffsetsAnswer::NotNow(why) if self.version < VERSION_WITH_MOVES => OffsetsAnswer::Failed(why),
            answer => answer,
        };
        self.link.send(FromSc::OffsetsAnswer { id, answer }).await
    }

    async fn hear(&mut self, message: FromSpu) -> Result<(), LinkError> {
        match message {
            FromSpu::Report(reports) => self.sc.report(self.spu, self.session, reports).await,
            FromSpu::SettingsApplied(generation) => self.sc.settings_applied(self.spu, generation).await,
            FromSpu::ViewApplied(revision) => self.view_applied(revision).await,
            FromSpu::InSync(asked) => self.sc.in_sync_asked(self.spu, asked).await,
            FromSpu::Offsets { id, request } if self.tasks.len() < RELAYED => {
                let key = PartitionKey { topic: CONSUMER_OFFSETS.into(), partition: 0 };
                let leader = self.state.borrow().partitions.get(&key).map(|partition| partition.leader);
                let (relay, answers) = (self.relay.clone(), self.answers.0.clone());
                self.tasks.spawn(async move {
                    let answer = relay.call(leader, request).await;
                    // A closed channel means that the SPU is gone, and with it whoever asked.
                    let _ = answers.send((id, answer)).await;
                });
            }
            FromSpu::Offsets { id, .. } => {
                let answer = OffsetsAnswer::NotNow("too many consumer offsets are on their way".into());
                self.answer(id, answer).await?;
            }
            FromSpu::OffsetsAnswer { id, answer } => {
                if let Some(reply) = self.waiting.remove(&id) {
                    // Whoever asked may have given up.
                    let _ = reply.send(answer);
                }
            }
            FromSpu::Beat => {}
            FromSpu::Hello { .. } => return Err(LinkError::Order("a second hello")),
        }
        Ok(())
    }

    async fn view_applied(&mut self, revision: u64) {
        let later = self.told.retired.split_off(&(revision + 1));
        let confirmed = std::mem::replace(&mut self.told.retired, later);
        // Of all that was sent up to then, what the SC still waits for.
        let gone: BTreeSet<Uuid> = confirmed.into_values().flatten().collect();
        if !gone.is_empty() {
            self.sc.retired_gone(self.spu, gone).await;
        }
    }
}

/// What changed for one SPU between two moments; from nothing, the whole. `None` if it need not know.
pub fn view_change(spu: i32, before: Option<&Metadata>, now: &Metadata) -> Option<ViewChange> {
    let held_before = before.map(|before| super::assignments(spu, before)).unwrap_or_default();
    let held = super::assignments(spu, now);
    let topics = |metadata: &Metadata| -> BTreeMap<String, Uuid> {
        metadata.topics.iter().map(|(name, topic)| (name.clone(), topic.id)).collect()
    };
    let retired = |metadata: &Metadata| -> BTreeSet<Uuid> {
        let mine = metadata.retired.iter().filter(|(_, holders)| holders.contains(&spu));
        mine.map(|(id, _)| *id).collect()
    };
    let dropped = |metadata: &Metadata| -> BTreeSet<(Uuid, u32)> {
        let of_topic = |topic: &Arc<Topic>| -> Vec<(Uuid, u32)> {
            let mine = topic.partitions.iter().filter(|(_, placed)| placed.dropped.contains(&spu));
            mine.map(|(index, _)| (topic.id, *index)).collect()
        };
        metadata.topics.values().flat_map(of_topic).collect()
    };
    let (topics_before, topics_now) = (before.map(topics).unwrap_or_default(), topics(now));
    let (led_before, led) = (before.map(leaders).unwrap_or_default(), leaders(now));
    let change = ViewChange {
        revision: now.revision,
        whole: before.is_none(),
        unassigned: held_before.keys().filter(|key| !held.contains_key(key)).cloned().collect(),
        assigned: held
            .into_iter()
            .filter(|(key, assignment)| held_before.get(key) != Some(assignment))
            .map(|(_, assignment)| assignment)
            .collect(),
        topics_gone: topics_before.keys().filter(|name| !topics_now.contains_key(*name)).cloned().collect(),
        topics_made: topics_now
            .into_iter()
            .filter(|(name, id)| topics_before.get(name) != Some(id))
            .collect(),
        led: led.into_iter().filter(|(key, leader)| led_before.get(key) != Some(leader)).collect(),
        retired: retired(now),
        dropped: dropped(now),
        smart_modules: smart_modules(before, now),
    };
    let news = change.whole
        || !(change.assigned.is_empty()
            && change.unassigned.is_empty()
            && change.topics_made.is_empty()
            && change.topics_gone.is_empty()
            && change.led.is_empty()
            && change.smart_modules.is_none()
            && before.map(retired).unwrap_or_default() == change.retired
            && before.map(dropped).unwrap_or_default() == change.dropped);
    news.then_some(change)
}

/// Their names, if there are others than before.
fn smart_modules(before: Option<&Metadata>, now: &Metadata) -> Option<BTreeSet<String>> {
    let now = &now.objects.smart_modules;
    let changed = match before {
        Some(before) => !Arc::ptr_eq(&before.objects.smart_modules, now),
        None => !now.is_empty(),
    };
    changed.then(|| now.iter().map(|(name, module)| qualified_name(name, module.meta.as_ref())).collect())
}

fn leaders(metadata: &Metadata) -> BTreeMap<PartitionKey, Leader> {
    let of_topic = |(name, topic): (&String, &Arc<Topic>)| -> Vec<_> {
        let led = |(partition, placed): (&u32, &Placement)| {
            let key = PartitionKey { topic: name.clone(), partition: *partition };
            (key, Leader { spu: placed.leader, epoch: placed.epoch, topic_id: topic.id })
        };
        topic.partitions.iter().map(led).collect()
    };
    metadata.topics.iter().flat_map(of_topic).collect()
}
