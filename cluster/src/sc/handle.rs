//! What everybody else has of the engine: its commands, its state.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::Settings;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::decide::{InSyncAsked, NewTopic, StillHolds};
use super::engine::Engine;
use super::objects::{self, files::CodeFiles};
use super::refusal::Refusal;
use super::state::State;
use super::store::{Store, StoreError};
use crate::access::{Policy, PolicyError};
use crate::link::{Assignment, ReplicaReport};

/// Commands that may wait.
const COMMANDS: usize = 256;

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
    /// An SPU that goes holds what nobody else does.
    #[error(transparent)]
    StillHolds(#[from] StillHolds),
    /// An SPU goes, and what it holds is not known yet.
    #[error("the cluster is starting and does not know yet what the SPUs hold: try again in a moment")]
    NotYet,
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
    Object { asked: objects::Asked, dry_run: bool, reply: oneshot::Sender<Result<u64, Refusal>> },
    SpuCame { hello: SpuHello, reply: oneshot::Sender<Result<i32, String>> },
    SpuWent { spu: i32, session: u64 },
    Report { spu: i32, session: u64, reports: Vec<ReplicaReport> },
    SettingsApplied { spu: i32, generation: u64 },
    InSync { spu: i32, asked: InSyncAsked },
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
    /// Where other SPUs reach it.
    pub peer: Option<String>,
    /// Whether its process has just started.
    pub fresh: bool,
    /// Whether it knows of copies that move.
    pub knows_moves: bool,
}

/// Whose cluster this is; settings of another are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The organisation.
    pub tenant: Uuid,
    /// The cluster.
    pub cluster: Uuid,
}

impl Owner {
    /// Whether the settings are for this cluster.
    pub fn owns(&self, settings: &Settings) -> bool {
        (settings.tenant, settings.cluster) == (self.tenant, self.cluster)
    }
}

/// Asks the engine.
#[derive(Debug, Clone)]
pub struct Sc {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<Arc<State>>,
    policy: watch::Receiver<Option<Arc<Policy>>>,
    code_files: CodeFiles,
}

impl Sc {
    /// Opens what is on disk and starts the engine, which runs until `stop`. An SPU that has been away for `lost_after` is
    /// lost: its copies are made again elsewhere.
    pub fn start(
        dir: PathBuf,
        owner: Owner,
        lost_after: Duration,
        stop: CancellationToken,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), StoreError> {
        let store = Store::open(dir)?;
        let code_files = store.code_files();
        let engine = Engine::open(store, owner, lost_after)?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let sc = Self { commands, state: engine.state(), policy: engine.policy(), code_files };
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

    /// Stores or deletes an object that is not a topic.
    pub async fn change_object(&self, asked: objects::Asked, dry_run: bool) -> Result<u64, Refusal> {
        self.ask(|reply| Command::Object { asked, dry_run, reply }).await
    }

    /// The code of SmartModules.
    pub fn code_files(&self) -> &CodeFiles {
        &self.code_files
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

    /// How an SPU's copies stand, said on this connection.
    pub async fn report(&self, spu: i32, session: u64, reports: Vec<ReplicaReport>) {
        self.tell(Command::Report { spu, session, reports }).await;
    }

    /// An SPU has put settings in force.
    pub async fn settings_applied(&self, spu: i32, generation: u64) {
        self.tell(Command::SettingsApplied { spu, generation }).await;
    }

    /// A leader wants another set of copies in sync.
    pub async fn in_sync_asked(&self, spu: i32, asked: InSyncAsked) {
        self.tell(Command::InSync { spu, asked }).await;
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
