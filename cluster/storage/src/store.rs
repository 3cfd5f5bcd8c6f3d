//! The data folder of one SPU.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task;

use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::disk::{Disk, RealDisk};
use crate::error::OpenError;
use crate::partition::Partition;
use crate::quota::Quota;

/// Ends the name of a folder that is being made. Topic names have no dots, so no partition is called so.
const NEW: &str = ".new";
/// Ends the name of a folder that is being removed.
const DELETED: &str = ".deleted";

/// Which partition: also the name of its folder, `<topic>-<partition>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionName {
    topic: String,
    partition: u32,
}

impl PartitionName {
    /// None if the topic cannot be a folder's name: only ASCII letters, digits and `-` are taken, at most 200
    /// of them (Fluvio's own rule is narrower).
    pub fn new(topic: impl Into<String>, partition: u32) -> Option<Self> {
        let topic = topic.into();
        let fits = !topic.is_empty()
            && topic.len() <= 200
            && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then_some(Self { topic, partition })
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Reads the name of a folder.
    fn from_folder(folder: &str) -> Option<Self> {
        let (topic, partition) = folder.rsplit_once('-')?;
        let name = Self::new(topic, partition.parse().ok()?)?;
        // "t-01" is not how we write it.
        (name.to_string() == folder).then_some(name)
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.topic, self.partition)
    }
}

/// The data folder of one SPU with what its partitions share. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) quota: Arc<Quota>,
    root: Arc<Path>,
}

impl Store {
    /// The folder `root` of this machine. Nothing is touched yet.
    pub fn new(root: &Path, quota_bytes: u64, host_reserve_bytes: u64) -> Self {
        Self::over(root, Arc::new(RealDisk), Arc::new(SystemClock), quota_bytes, host_reserve_bytes)
    }

    /// The same over another disk and clock.
    pub fn over(
        root: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        quota_bytes: u64,
        host_reserve_bytes: u64,
    ) -> Self {
        let quota = Arc::new(Quota::new(Arc::clone(&disk), root, quota_bytes, host_reserve_bytes));
        Self { disk, clock, quota, root: root.into() }
    }

    /// The count of bytes in use, and its limits.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The partitions that are on disk. Also removes what a crash left half made or half deleted, so call it
    /// once, before anything is opened.
    pub async fn list(&self) -> Result<Vec<PartitionName>, OpenError> {
        let store = self.clone();
        task::spawn_blocking(move || store.list_now()).await.unwrap_or_else(|panic| Err(lost(panic)))
    }

    /// Opens a partition, making it if it is not there, and recovers it: what a crash tore off the end is cut.
    /// A partition must be open once only.
    pub async fn open(&self, name: &PartitionName, config: Config) -> Result<Partition, OpenError> {
        Partition::open(self.clone(), self.folder_of(name), config).await
    }

    /// Removes a partition that is not open, for one that cannot be opened. None of that name is fine.
    pub async fn remove(&self, name: &PartitionName) -> Result<(), OpenError> {
        let (store, folder) = (self.clone(), self.folder_of(name));
        task::spawn_blocking(move || store.remove_folder(&folder))
            .await
            .unwrap_or_else(|panic| Err(lost(panic)))
    }

    /// Where a partition is.
    pub(crate) fn folder_of(&self, name: &PartitionName) -> PathBuf {
        self.root.join(name.to_string())
    }

    /// Takes the folder's name away first, so that after a crash it is either whole or none.
    pub(crate) fn remove_folder(&self, folder: &Path) -> Result<(), OpenError> {
        let doomed = deleted_folder(folder);
        // Of an earlier removal that did not come to its end.
        remove_if_there(&*self.disk, &doomed)?;
        match self.disk.rename(folder, &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(OpenError::io(folder))?,
        }
        self.disk.sync_dir(&self.root).map_err(OpenError::io(&*self.root))?;
        remove_if_there(&*self.disk, &doomed)
    }

    /// Makes the folder, durably, if its parent is there already.
    pub(crate) fn make_root(&self) -> Result<(), OpenError> {
        self.disk.create_dir(&self.root).map_err(OpenError::io(&*self.root))?;
        let parent = self.root.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        self.disk.sync_dir(parent).map_err(OpenError::io(parent))
    }

    pub(crate) fn list_now(&self) -> Result<Vec<PartitionName>, OpenError> {
        self.make_root()?;
        let mut names = Vec::new();
        for folder in self.disk.list(&self.root).map_err(OpenError::io(&*self.root))? {
            let path = self.root.join(&folder);
            if folder.ends_with(DELETED) || folder.ends_with(NEW) {
                self.disk.remove_dir(&path).map_err(OpenError::io(path))?;
            } else if let Some(name) = PartitionName::from_folder(&folder) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Removes a folder with all in it; none there is fine.
pub(crate) fn remove_if_there(disk: &dyn Disk, folder: &Path) -> Result<(), OpenError> {
    match disk.remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(OpenError::io(folder)),
    }
}

/// Where a partition's folder is made before it gets its name.
pub(crate) fn new_folder(folder: &Path) -> PathBuf {
    suffixed(folder, NEW)
}

/// What a partition's folder is called while it is removed.
fn deleted_folder(folder: &Path) -> PathBuf {
    suffixed(folder, DELETED)
}

/// A blocking task that did not come back: it panicked, or the runtime ends.
pub(crate) fn lost(error: task::JoinError) -> OpenError {
    OpenError::Io { path: PathBuf::new(), source: error.into() }
}

fn suffixed(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
