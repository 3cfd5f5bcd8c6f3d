//! The one task that changes anything: takes commands in order, decides, writes to disk, publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::{Settings, SpuEntry};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::gather::WRITTEN_AGAIN;
use super::decide::{self, NewTopic};
use super::due::{Due, take_due};
use super::handle::{Command, Owner, SettingsRefused};
use super::metadata::Metadata;
use super::refusal::Refusal;
use super::state::{Live, State};
use super::store::{Store, StoreError};
use super::topic::CONSUMER_OFFSETS;
use crate::access::Policy;
use crate::link::{PartitionKey, ReplicaReport, ReplicaState};

mod gather;
mod objects;
mod presence;

/// An SC without metadata waits this long for the rest of its SPUs, once the first has come, before it takes
/// itself for a new cluster.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(10);

/// A system topic that was deleted by force comes back after this long: whoever deleted it sees that it went.
const SYSTEM_TOPIC_PAUSE: Duration = Duration::from_secs(1);

/// The system topic belongs on the first SPU, and once another has come, this is how long it waits for that one.
const FIRST_SPU_PATIENCE: Duration = Duration::from_secs(10);

/// All that changes.
pub(super) struct Engine {
    owner: Owner,
    store: Store,
    live: Live,
    /// The last connection of each SPU that came. What an older one says is of a time before, even if this one is gone.
    sessions: BTreeMap<i32, u64>,
    /// SPUs that came at least once since the start.
    came: BTreeSet<i32>,
    lost_after: Duration,
    /// What the SPUs that came to an SC without a disk have on theirs, and whether their processes had just begun.
    gathered: BTreeMap<i32, (bool, BTreeSet<(Uuid, u32)>)>,
    due: Due,
    first_spu_is_late: bool,
    state: State,
    published: watch::Sender<Arc<State>>,
    policy: watch::Sender<Option<Arc<Policy>>>,
}

impl Engine {
    /// With what is on disk in force.
    pub(super) fn open(store: Store, owner: Owner, lost_after: Duration) -> Result<Self, StoreError> {
        let kept = store.settings().unwrap_or_else(|error| {
            // Unlike the metadata they come again: the provisioner pushes them.
            tracing::error!(%error, "cannot use the kept settings, waiting for new ones");
            None
        });
        let metadata = store.metadata()?;
        if let Some(metadata) = &metadata {
            store.code_files().tidy(&metadata.objects);
        }
        let mut engine = Self {
            owner,
            store,
            live: Live::default(),
            sessions: BTreeMap::new(),
            came: BTreeSet::new(),
            lost_after,
            gathered: BTreeMap::new(),
            due: Due { late: Some(Instant::now() + RECOVERY_PATIENCE), ..Due::default() },
            first_spu_is_late: false,
            state: State { open: metadata.is_some(), ..State::default() },
            published: watch::Sender::new(Arc::new(State::default())),
            policy: watch::Sender::new(None),
        };
        engine.state.metadata = Arc::new(metadata.unwrap_or_default());
        if let Some(settings) = kept.filter(|settings| engine.owner.owns(settings)) {
            match Policy::build(settings.clone(), None) {
                Ok(policy) => engine.enforce(settings, policy),
                // They were valid when they were written; the provisioner pushes again.
                Err(error) => {
                    tracing::error!(%error, "the kept settings are not usable, waiting for new ones")
                }
            }
        }
        engine.publish_all();
        Ok(engine)
    }

    pub(super) fn state(&self) -> watch::Receiver<Arc<State>> {
        self.published.subscribe()
    }

    pub(super) fn policy(&self) -> watch::Receiver<Option<Arc<Policy>>> {
        self.policy.subscribe()
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        loop {
            let due = self.due.next();
            tokio::select! {
                () = stop.cancelled() => return,
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    self.wake().await;
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        // Whoever asked may be gone by the time of the answer; what was decided stands.
        match command {
            Command::Settings(settings, reply) => {
                let _ = reply.send(self.put_settings(*settings).await);
            }
            Command::Create { new, dry_run, reply } => {
                let _ = reply.send(self.create(new, dry_run).await);
            }
            Command::Delete { name, force, reply } => {
                let _ = reply.send(self.delete(&name, force).await);
            }
            Command::AddPartitions { name, count, reply } => {
                let world = self.state.world(&self.live);
                let add = || decide::add_partitions(&self.state.metadata, &world, &name, count);
                let next = self.is_open().and_then(|()| add());
                let _ = reply.send(self.commit_asked(next).await);
            }
            Command::Object { asked, dry_run, reply } => {
                let _ = reply.send(self.change_object(asked, dry_run).await);
            }
            Command::SpuCame { hello, reply } => {
                let _ = reply.send(self.spu_came(hello).await);
            }
            Command::SpuWent { spu, session } => self.spu_went(spu, session).await,
            // What comes late of an older connection is of a time before, and would not be said again.
            Command::Report { spu, session, .. } if self.sessions.get(&spu) != Some(&session) => {}
            Command::Report { spu, reports, .. } => self.report(spu, reports).await,
            Command::SettingsApplied { spu, generation } => {
                self.state.settings_applied.insert(spu, generation);
                self.publish();
            }
            // What was only gathered is not to be written down; a leader asks again.
            Command::InSync { .. } if !self.state.open => {}
            Command::InSync { spu, asked } => {
                let world = self.state.world(&self.live);
                match decide::change_in_sync(&self.state.metadata, &world, spu, &asked) {
                    Ok(next) => {
                        self.commit_own(next).await;
                        self.settle().await;
                    }
                    Err(error) => {
                        tracing::debug!(spu, partition = %asked.key, %error, "the copies in sync stay")
                    }
                }
            }
            Command::RetiredGone { spu, gone } => {
                if let Some(next) = decide::confirm_retired(&self.state.metadata, spu, &gone) {
                    self.commit_own(next).await;
                }
            }
        }
    }

    async fn wake(&mut self) {
        let now = Instant::now();
        if take_due(&mut self.due.give_up_waiting, now) {
            // Fewer could have missed what the others acknowledged.
            if self.knows_enough() {
                tracing::warn!("not every SPU has come: going on with those that have");
                self.open_with_what_was_gathered().await;
            } else {
                tracing::warn!("too few SPUs have come to know what the cluster had: waiting for more");
                self.due.give_up_waiting = Some(now + RECOVERY_PATIENCE);
            }
        }
        take_due(&mut self.due.system_topic, now);
        take_due(&mut self.due.again, now);
        self.first_spu_is_late |= take_due(&mut self.due.first_spu, now);
        self.look_who_is_away(now);
        self.settle().await;
    }

    async fn put_settings(&mut self, settings: Settings) -> Result<(), SettingsRefused> {
        if !self.owner.owns(&settings) {
            return Err(SettingsRefused::Elsewhere);
        }
        let in_force = self.state.settings.as_ref().map_or(0, |settings| settings.generation);
        if settings.generation < in_force {
            return Err(SettingsRefused::Older { pushed: settings.generation, in_force });
        }
        let previous = self.policy.borrow().clone();
        let policy = Policy::build(settings.clone(), previous.as_deref())?;
        let without = self.without_those_that_go(&settings)?;
        self.store.save_settings(settings.clone()).await?;
        self.enforce(settings, policy);
        self.publish_all();
        if let Some(next) = without {
            self.commit_own(next).await;
        }
        self.settle().await;
        Ok(())
    }

    /// Whatever one still holds would be lost with it.
    fn without_those_that_go(&self, new: &Settings) -> Result<Option<Metadata>, SettingsRefused> {
        let Some(old) = self.state.settings.as_deref() else { return Ok(None) };
        let stays = |spu: &SpuEntry| new.spus.iter().any(|new| (new.id, &new.name) == (spu.id, &spu.name));
        let going: Vec<_> =
            old.spus.iter().filter(|spu| !stays(spu)).map(|spu| (spu.id, spu.name.as_str())).collect();
        // Of those that have come it is not known yet what they hold; of the others it is the operator's word that
        // nothing is to be waited for.
        if !self.state.open && going.iter().any(|(spu, _)| self.came.contains(spu)) {
            return Err(SettingsRefused::NotYet);
        }
        Ok(decide::without(&self.state.metadata, &going)?)
    }

    fn enforce(&mut self, settings: Settings, policy: Policy) {
        self.policy.send_replace(Some(Arc::new(policy)));
        self.state.settings = Some(Arc::new(settings));
    }

    async fn create(&mut self, new: NewTopic, dry_run: bool) -> Result<u64, Refusal> {
        self.is_open()?;
        let world = self.state.world(&self.live);
        let next = decide::create_topic(&self.state.metadata, &world, new);
        if dry_run { next.map(|_| self.state.metadata.revision) } else { self.commit_asked(next).await }
    }

    fn is_open(&self) -> Result<(), Refusal> {
        let starting = || Refusal::Later("the cluster is starting: try again in a moment".into());
        self.state.open.then_some(()).ok_or_else(starting)
    }

    async fn delete(&mut self, name: &str, force: bool) -> Result<u64, Refusal> {
        self.is_open()?;
        let next = decide::delete_topic(&self.state.metadata, name, force);
        let revision = self.commit_asked(next).await?;
        if name == CONSUMER_OFFSETS {
            self.due.system_topic = Some(Instant::now() + SYSTEM_TOPIC_PAUSE);
        }
        Ok(revision)
    }

    async fn report(&mut self, spu: i32, reports: Vec<ReplicaReport>) {
        let tells = |report: &ReplicaReport| report.lost_lead || report.state == ReplicaState::Failed;
        let decides = reports.iter().any(|report| report.durable.is_some() || tells(report));
        let mut keys: Vec<PartitionKey> = Vec::with_capacity(reports.len());
        let known = |report: &ReplicaReport| {
            self.state.metadata.topics.get(&report.key.topic).is_some_and(|topic| topic.id == report.topic_id)
        };
        for report in reports.into_iter().filter(known) {
            keys.push(report.key.clone());
            self.live.reports.insert((report.key.clone(), spu), report);
        }
        self.state.refresh_partitions(keys.iter(), &self.live);
        self.state.count_stored(&self.live);
        self.publish();
        if decides {
            self.settle().await;
        }
    }

    /// What the SC does by itself: the system topic, and topics that waited for an SPU.
    async fn settle(&mut self) {
        if !self.state.open || self.state.settings.is_none() {
            return;
        }
        let missing = !self.state.metadata.topics.contains_key(CONSUMER_OFFSETS);
        if missing && self.due.system_topic.is_none() {
            let world = self.state.world(&self.live);
            if world.first_is_there() || self.first_spu_is_late {
                let next = decide::ensure_consumer_offsets(&self.state.metadata, &world, Uuid::new_v4());
                if let Some(next) = next {
                    self.commit_own(next).await;
                }
            } else if world.open().next().is_some() && self.due.first_spu.is_none() {
                self.due.first_spu = Some(Instant::now() + FIRST_SPU_PATIENCE);
            }
        }
        let world = self.state.world(&self.live);
        if let Some(next) = decide::lead_again(&self.state.metadata, &world, &self.live.reports) {
            tracing::warn!(
                revision = next.revision,
                "what nobody led is led again by whoever has everything"
            );
            self.commit_own(next).await;
        }
        if let Some(next) = decide::elect(&self.state.metadata, &world) {
            tracing::info!(revision = next.revision, "other copies lead or count now");
            self.commit_own(next).await;
        }
        if let Some(next) = decide::provision(&self.state.metadata, &world) {
            self.commit_own(next).await;
        }
        while let Some(next) = decide::move_copies(&self.state.metadata, &world) {
            let revision = next.revision;
            tracing::info!(revision, "copies move");
            self.commit_own(next).await;
            if self.state.metadata.revision != revision {
                return;
            }
        }
    }

    async fn commit_asked(&mut self, next: Result<Metadata, Refusal>) -> Result<u64, Refusal> {
        let next = next?;
        let revision = next.revision;
        self.commit(next).await.map_err(|error| {
            tracing::error!(%error, "a change was not kept and is refused");
            Refusal::Later("the cluster cannot write its metadata now: try again later".into())
        })?;
        Ok(revision)
    }

    async fn commit_own(&mut self, next: Metadata) {
        if let Err(error) = self.commit(next).await {
            tracing::error!(%error, "a change of the SC's own was not kept; it is decided again in a moment");
            self.due.again = Some(Instant::now() + WRITTEN_AGAIN);
        }
    }

    /// On disk first, then in force.
    async fn commit(&mut self, next: Metadata) -> Result<(), StoreError> {
        let next = Arc::new(next);
        self.store.save_metadata(Arc::clone(&next)).await?;
        self.state.metadata = next;
        self.live.reports.retain(|(key, spu), report| {
            let topic = self.state.metadata.topics.get(&key.topic);
            topic.filter(|topic| topic.id == report.topic_id).is_some_and(|topic| {
                topic.partitions.get(&key.partition).is_some_and(|placed| placed.replicas.contains(spu))
            })
        });
        self.publish_all();
        Ok(())
    }

    fn publish_all(&mut self) {
        self.state.refresh(&self.live);
        self.publish();
    }

    fn publish(&self) {
        self.published.send_replace(Arc::new(self.state.clone()));
    }
}
