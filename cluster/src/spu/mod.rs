//! A stream processing unit: stores what producers send and streams it to consumers.
//!
//! [`Spu`] keeps the partitions that the SC assigned to it (and goes on with the last assignment it kept on
//! disk while the SC is away); [`Requests`] answers clients. Consumers' offsets live in a partition of their
//! own, see [`consumers`].
//!
//! Folder: `assignments` (a document: what was assigned last) and `log/` with a folder for each partition,
//! named by topic, incarnation and number, so that a topic made again under an old name starts empty.

mod assign;
mod bygone;
mod compressed;
pub mod consumers;
mod copies;
mod elsewhere;
mod fetch_offsets;
mod kept;
mod patience;
mod produce;
mod replicas;
mod requests;
mod route;
mod scrub;
mod stream;
mod streams;
mod turns;
mod upkeep;
mod whole;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster_storage::{OpenError, Store};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::access::PolicyWatch;
use crate::config::ScrubConfig;
use crate::link::SpuLink;
use crate::peer::Peers;
use crate::usage::Usage;

pub use kept::load as kept_assignments;
pub use replicas::{Replica, Replicas};
pub use requests::Requests;

use bygone::Bygone;
use consumers::Consumers;
use copies::{Follows, Leads, Pace};
use scrub::Scrub;
use whole::Wholes;

/// Pause before a view that the disk did not take is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Large compressed batches opened at a time.
const OPENING: usize = 2;

/// What an SPU is started with.
#[derive(Debug)]
pub struct SpuOptions {
    /// Its name in the settings.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Where it hears of its partitions.
    pub link: SpuLink,
    /// The settings in force.
    pub policy: PolicyWatch,
    /// The cluster's other SPUs.
    pub peers: Peers,
    /// Shared by the whole process.
    pub usage: Arc<Usage>,
    /// Bytes that have to stay free on the disk.
    pub host_reserve_bytes: u64,
    /// How fast copies that move are fed.
    pub move_bytes_per_second: NonZeroU64,
    /// How it looks for damage.
    pub scrub: ScrubConfig,
    /// Ends it.
    pub stop: CancellationToken,
}

/// One SPU.
#[derive(Debug)]
pub struct Spu {
    name: String,
    folder: PathBuf,
    store: StoreOf,
    replicas: Replicas,
    /// What others follow here, and what this SPU follows.
    leads: Leads,
    follows: Follows,
    peers: Peers,
    /// Of all copies that move from here.
    moves: Pace,
    /// Of which epochs its copies are whole.
    wholes: Wholes,
    /// In which epochs its copies are led no more.
    bygone: Bygone,
    consumers: Consumers,
    link: SpuLink,
    policy: PolicyWatch,
    usage: Arc<Usage>,
    stop: CancellationToken,
    /// Views are applied one at a time.
    applying: Mutex<()>,
    /// Large batches that are opened at a time: each takes a core and up to a codec's window of memory.
    opening: Arc<Semaphore>,
    /// What is known of damage on its disk.
    scrub: Scrub,
}

/// The store has no `Debug` of its own.
struct StoreOf(Store);

impl std::fmt::Debug for StoreOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} bytes used)", self.0.quota().used())
    }
}

impl Spu {
    /// Opens what the folder holds: every partition of the last assignment serves when this returns, whether
    /// or not the SC can be reached.
    pub async fn start(options: SpuOptions) -> Result<Arc<Self>, OpenError> {
        let SpuOptions { name, folder, link, policy, peers, usage, scrub, .. } = options;
        // The limit comes with the settings; until then nothing but what is there is served.
        let store = Store::new(&log_folder(&folder), u64::MAX, options.host_reserve_bytes);
        let consumers = Consumers::new(link.clone());
        let kept = Arc::clone(&link.view().borrow());
        let scrub = Scrub::new(scrub, &name);
        let folders = store.list().await?;
        let on_disk = folders.iter().filter_map(|folder| {
            Replica::incarnation_of(folder).map(|topic_id| (topic_id, folder.partition()))
        });
        let wholes = Wholes::load(&folder, on_disk.collect()).await?;
        let spu = Self {
            name,
            folder,
            store: StoreOf(store),
            replicas: Replicas::default(),
            leads: Leads::default(),
            follows: Follows::default(),
            peers,
            moves: Pace::new(options.move_bytes_per_second),
            wholes,
            bygone: Bygone::of(kept.assignments.values()),
            consumers,
            link,
            policy,
            usage,
            stop: options.stop,
            applying: Mutex::default(),
            opening: Arc::new(Semaphore::new(OPENING)),
            scrub,
        };
        spu.follow_settings();
        spu.replicas.remember_folders(folders);
        let spu = Arc::new(spu);
        if let Err(error) = spu.apply_view().await {
            // What is kept is served all the same; the SC is told when it has been kept again.
            error!(%error, "cannot apply the assignments kept on disk");
        }
        Ok(spu)
    }

    /// Follows the SC, keeps house, and when stopped closes every partition.
    pub async fn run(self: Arc<Self>) {
        let tasks = TaskTracker::new();
        tasks.spawn(Arc::clone(&self).follow_view());
        tasks.spawn(Arc::clone(&self).keep_house());
        tasks.spawn(Arc::clone(&self).watch_disks());
        tasks.spawn(Arc::clone(&self).serve_consumers());
        tasks.spawn(Arc::clone(&self).keep_scrubbing());
        tasks.close();
        tasks.wait().await;
        for replica in self.replicas.all() {
            replica.close().await;
        }
    }

    /// What answers clients.
    pub fn requests(self: &Arc<Self>) -> Arc<Requests> {
        Arc::new(Requests::new(Arc::clone(self)))
    }

    /// The partitions now.
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Bytes of log on this SPU.
    pub fn storage_bytes(&self) -> u64 {
        self.store.0.quota().used()
    }

    /// The id that the settings give this name.
    fn id(&self) -> Option<i32> {
        let policy = self.policy.borrow();
        let settings = &policy.as_ref()?.settings;
        settings.spus.iter().find(|spu| spu.name == self.name).map(|spu| spu.id)
    }

    async fn follow_view(self: Arc<Self>) {
        let mut views = self.link.view();
        let mut policy = self.policy.clone();
        // Once more, since something may have changed after the start: applying twice changes nothing.
        loop {
            let applied = self.apply_view().await;
            if let Err(error) = &applied {
                error!(%error, "the SC's word is not followed in all yet; trying again");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = changed(&mut views) => {}
                // The settings say which id this SPU has, and what an acknowledgement means.
                () = changed(&mut policy) => self.follow_settings(),
                () = sleep(RETRY), if applied.is_err() => {}
            }
        }
    }

    /// Puts the settings' storage limit in force, less what the cluster's other SPUs use.
    fn follow_settings(&self) {
        if let Some(policy) = &*self.policy.borrow() {
            let elsewhere = *self.link.storage_elsewhere().borrow();
            let limit = policy.settings.limits.storage_bytes;
            self.store.0.quota().set_limit(limit.saturating_sub(elsewhere));
        }
    }
}

fn log_folder(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// Waits until a watched value may have changed; for ever once nobody can change it.
async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
