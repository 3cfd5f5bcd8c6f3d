//! The one task that changes anything: takes commands in order, decides, writes to disk, publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::Settings;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::decide::{self, NewTopic};
use super::metadata::Metadata;
use super::refusal::Refusal;
use super::state::{Live, State};
use super::store::{Store, StoreError};
use super::topic::CONSUMER_OFFSETS;
use crate::access::{Policy, PolicyError};
use crate::link::{Assignment, PartitionKey, ReplicaReport};

/// Commands that may wait.
const COMMANDS: usize = 256;

/// An SC without metadata waits this long for the rest of its SPUs, once the first has come, before it takes
/// itself for a new cluster.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(10);

/// A system topic that was deleted by force comes back after this long: whoever deleted it sees that it went.
const SYSTEM_TOPIC_PAUSE: Duration = Duration::from_secs(1);

/// Why settings were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingsRefused {
    /// Newer ones are in force.
    #[error("generation {pushed} is older than generation {in_force}, which is in force")]
    Older {
        /// Of the document.
        pushed: u64,
        /// In force.
        in_force: u64,
    },
    /// For another cluster.
    #[error("the settings are for another cluster")]
    Elsewhere,
    /// They contradict themselves.
    #[error(transparent)]
    Invalid(#[from] PolicyError),
    /// They could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The SC is stopping.
    #[error("the SC is stopping")]
    Stopping,
}

/// What the engine is asked to do.
pub(super) enum Command {
    Settings(Box<Settings>, oneshot::Sender<Result<(), SettingsRefused>>),
    Create { new: NewTopic, dry_run: bool, reply: oneshot::Sender<Result<u64, Refusal>> },
    Delete { name: String, force: bool, reply: oneshot::Sender<Result<u64, Refusal>> },
    AddPartitions { name: String, count: u32, reply: oneshot::Sender<Result<u64, Refusal>> },
    SpuCame { hello: SpuHello, reply: oneshot::Sender<Result<i32, String>> },
    SpuWent { spu: i32, session: u64 },
    Report { spu: i32, reports: Vec<ReplicaReport> },
    SettingsApplied { spu: i32, generation: u64 },
    RetiredGone { spu: i32, gone: BTreeSet<Uuid> },
}

/// What an SPU says when it comes.
#[derive(Debug)]
pub struct SpuHello {
    /// Its name in the settings.
    pub name: String,
    /// What it holds.
    pub held: Vec<Assignment>,
    /// Generation of its settings.
    pub generation: u64,
    /// Tells its connections apart.
    pub session: u64,
}

/// Asks the engine.
#[derive(Debug, Clone)]
pub struct Sc {
    pub(super) commands: mpsc::Sender<Command>,
    state: watch::Receiver<Arc<State>>,
    policy: watch::Receiver<Option<Arc<Policy>>>,
}

impl Sc {
    /// Opens what is on disk and starts the engine, which runs until `stop`.
    pub fn start(
        dir: PathBuf,
        cluster: Uuid,
        stop: CancellationToken,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), StoreError> {
        let store = Store::open(dir)?;
        let kept = store.settings()?;
        let metadata = store.metadata()?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let mut engine = Engine {
            cluster,
            store,
            live: Live::default(),
            sessions: BTreeMap::new(),
            came: BTreeSet::new(),
            give_up_waiting: None,
            system_topic_due: None,
            state: State { open: metadata.is_some(), ..State::default() },
            published: watch::Sender::new(Arc::new(State::default())),
            policy: watch::Sender::new(None),
        };
        engine.state.metadata = Arc::new(metadata.unwrap_or_default());
        if let Some(settings) = kept {
            match Policy::build(settings.clone(), None) {
                Ok(policy) => engine.enforce(settings, policy),
                // They were valid when they were written; the provisioner pushes again.
                Err(error) => tracing::error!(%error, "the settings on disk are not usable, waiting for new ones"),
            }
        }
        engine.publish_all();
        let sc = Self { commands, state: engine.published.subscribe(), policy: engine.policy.subscribe() };
        Ok((sc, tokio::spawn(engine.run(receiver, stop))))
    }

    /// The newest state, and word of each change.
    pub fn state(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Who may do what, for the listeners.
    pub fn policy(&self) -> watch::Receiver<Option<Arc<Policy>>> {
        self.policy.clone()
    }

    /// Puts settings in force here and on disk; SPUs follow.
    pub async fn put_settings(&self, settings: Settings) -> Result<(), SettingsRefused> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Settings(Box::new(settings), reply)).await;
        sent.map_err(|_| SettingsRefused::Stopping)?;
        answer.await.map_err(|_| SettingsRefused::Stopping)?
    }

    /// Creates a topic; the number is the revision from which on it exists.
    pub async fn create(&self, new: NewTopic, dry_run: bool) -> Result<u64, Refusal> {
        self.ask(|reply| Command::Create { new, dry_run, reply }).await
    }

    /// Deletes a topic.
    pub async fn delete(&self, name: String, force: bool) -> Result<u64, Refusal> {
        self.ask(|reply| Command::Delete { name, force, reply }).await
    }

    /// Gives a topic more partitions.
    pub async fn add_partitions(&self, name: String, count: u32) -> Result<u64, Refusal> {
        self.ask(|reply| Command::AddPartitions { name, count, reply }).await
    }

    /// Registers an SPU; its id, or why not.
    pub async fn spu_came(&self, hello: SpuHello) -> Result<i32, String> {
        let stopping = || "the SC is stopping".to_owned();
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::SpuCame { hello, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// A connection of an SPU ended.
    pub async fn spu_went(&self, spu: i32, session: u64) {
        self.tell(Command::SpuWent { spu, session }).await;
    }

    /// How an SPU's copies stand.
    pub async fn report(&self, spu: i32, reports: Vec<ReplicaReport>) {
        self.tell(Command::Report { spu, reports }).await;
    }

    /// An SPU has put settings in force.
    pub async fn settings_applied(&self, spu: i32, generation: u64) {
        self.tell(Command::SettingsApplied { spu, generation }).await;
    }

    /// An SPU has removed what it held of these incarnations.
    pub async fn retired_gone(&self, spu: i32, gone: BTreeSet<Uuid>) {
        self.tell(Command::RetiredGone { spu, gone }).await;
    }

    async fn tell(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            tracing::debug!("the engine has stopped");
        }
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<u64, Refusal>>) -> Command,
    ) -> Result<u64, Refusal> {
        let stopping = || Refusal::Later("the cluster is stopping: try again in a moment".into());
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

struct Engine {
    cluster: Uuid,
    store: Store,
    live: Live,
    /// The connection on which each registered SPU is.
    sessions: BTreeMap<i32, u64>,
    /// SPUs that came at least once since the start.
    came: BTreeSet<i32>,
    give_up_waiting: Option<Instant>,
    system_topic_due: Option<Instant>,
    state: State,
    published: watch::Sender<Arc<State>>,
    policy: watch::Sender<Option<Arc<Policy>>>,
}

impl Engine {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        loop {
            let due = [self.give_up_waiting, self.system_topic_due].into_iter().flatten().min();
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
                let next = decide::add_partitions(&self.state.metadata, &world, &name, count);
                let _ = reply.send(self.commit_asked(next).await);
            }
            Command::SpuCame { hello, reply } => {
                let _ = reply.send(self.spu_came(hello).await);
            }
            Command::SpuWent { spu, session } => self.spu_went(spu, session).await,
            Command::Report { spu, reports } => self.report(spu, reports),
            Command::SettingsApplied { spu, generation } => {
                self.state.settings_applied.insert(spu, generation);
                self.publish();
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
        if self.give_up_waiting.is_some_and(|due| due <= now) {
            tracing::warn!("not every SPU has come: going on with those that have");
            self.give_up_waiting = None;
            self.state.open = true;
        }
        if self.system_topic_due.is_some_and(|due| due <= now) {
            self.system_topic_due = None;
        }
        self.settle().await;
    }

    async fn put_settings(&mut self, settings: Settings) -> Result<(), SettingsRefused> {
        if settings.cluster != self.cluster {
            return Err(SettingsRefused::Elsewhere);
        }
        let in_force = self.state.settings.as_ref().map_or(0, |settings| settings.generation);
        if settings.generation < in_force {
            return Err(SettingsRefused::Older { pushed: settings.generation, in_force });
        }
        let previous = self.policy.borrow().clone();
        let policy = Policy::build(settings.clone(), previous.as_deref())?;
        self.store.save_settings(settings.clone()).await?;
        self.enforce(settings, policy);
        self.publish_all();
        self.settle().await;
        Ok(())
    }

    fn enforce(&mut self, settings: Settings, policy: Policy) {
        self.policy.send_replace(Some(Arc::new(policy)));
        self.state.settings = Some(Arc::new(settings));
    }

    async fn create(&mut self, new: NewTopic, dry_run: bool) -> Result<u64, Refusal> {
        if !self.state.open {
            return Err(Refusal::Later("the cluster is starting: try again in a moment".into()));
        }
        let world = self.state.world(&self.live);
        let next = decide::create_topic(&self.state.metadata, &world, new);
        if dry_run { next.map(|_| self.state.metadata.revision) } else { self.commit_asked(next).await }
    }

    async fn delete(&mut self, name: &str, force: bool) -> Result<u64, Refusal> {
        let next = decide::delete_topic(&self.state.metadata, name, force);
        let revision = self.commit_asked(next).await?;
        if name == CONSUMER_OFFSETS {
            self.system_topic_due = Some(Instant::now() + SYSTEM_TOPIC_PAUSE);
        }
        Ok(revision)
    }

    async fn spu_came(&mut self, hello: SpuHello) -> Result<i32, String> {
        let settings = self.state.settings.clone().ok_or("the SC has no settings yet")?;
        let entry = settings.spus.iter().find(|spu| spu.name == hello.name);
        let spu = entry.ok_or_else(|| format!("the settings name no SPU {:?}", hello.name))?.id;
        if let Some(next) = decide::adopt(&self.state.metadata, &hello.held) {
            let n_topics = next.topics.len() - self.state.metadata.topics.len();
            tracing::warn!(spu, n_topics, "taking over partitions that the metadata does not have");
            self.commit(next).await.map_err(|error| error.to_string())?;
        }
        self.live.online.insert(spu);
        self.live.reports.retain(|(_, reporter), _| *reporter != spu);
        self.sessions.insert(spu, hello.session);
        self.state.settings_applied.insert(spu, hello.generation);
        self.came.insert(spu);
        if settings.spus.iter().all(|spu| self.came.contains(&spu.id)) {
            self.state.open = true;
            self.give_up_waiting = None;
        } else if !self.state.open && self.give_up_waiting.is_none() {
            self.give_up_waiting = Some(Instant::now() + RECOVERY_PATIENCE);
        }
        self.publish_all();
        self.settle().await;
        Ok(spu)
    }

    async fn spu_went(&mut self, spu: i32, session: u64) {
        // A newer connection of the same SPU may have come before the older one's end was seen.
        if self.sessions.get(&spu) != Some(&session) {
            return;
        }
        tracing::warn!(spu, "the SPU is gone");
        self.sessions.remove(&spu);
        self.live.online.remove(&spu);
        self.state.settings_applied.remove(&spu);
        self.publish_all();
    }

    fn report(&mut self, spu: i32, reports: Vec<ReplicaReport>) {
        let mut keys: Vec<PartitionKey> = Vec::with_capacity(reports.len());
        let known = |report: &ReplicaReport| {
            self.state.metadata.topics.get(&report.key.topic).is_some_and(|topic| topic.id == report.topic_id)
        };
        for report in reports.into_iter().filter(known) {
            keys.push(report.key.clone());
            self.live.reports.insert((report.key.clone(), spu), report);
        }
        self.state.refresh_partitions(keys.iter(), &self.live);
        self.publish();
    }

    /// What the SC does by itself: the system topic, and topics that waited for an SPU.
    async fn settle(&mut self) {
        if !self.state.open || self.state.settings.is_none() {
            return;
        }
        let missing = !self.state.metadata.topics.contains_key(CONSUMER_OFFSETS);
        if missing && self.system_topic_due.is_none() {
            let world = self.state.world(&self.live);
            if let Some(next) =
                decide::ensure_consumer_offsets(&self.state.metadata, &world, Uuid::new_v4())
            {
                self.commit_own(next).await;
            }
        }
        let world = self.state.world(&self.live);
        if let Some(next) = decide::provision(&self.state.metadata, &world) {
            self.commit_own(next).await;
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
            tracing::error!(%error, "a change of the SC's own was not kept; it is tried again at the next change");
        }
    }

    /// On disk first, then in force.
    async fn commit(&mut self, next: Metadata) -> Result<(), StoreError> {
        let next = Arc::new(next);
        self.store.save_metadata(Arc::clone(&next)).await?;
        self.state.metadata = next;
        self.live.reports.retain(|(key, _), report| {
            self.state.metadata.topics.get(&key.topic).is_some_and(|topic| topic.id == report.topic_id)
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
