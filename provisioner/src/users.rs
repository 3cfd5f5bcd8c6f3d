//! Which user each cluster runs as.
//!
//! A user is given to one cluster at a time, and only given on when nothing of the former is left: its files
//! would be readable by the next. The table is written and flushed before a user is used.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::folder::{self, Durable};
use crate::process::users_of_processes;

/// Why a cluster has no user.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// All given out.
    #[error("all {0} users of this machine are taken; raise uid_count")]
    Exhausted(u32),
    /// The table could not be written.
    #[error("cannot write the table of users: {0}")]
    Io(#[from] std::io::Error),
}

/// The table.
pub struct Users {
    file: PathBuf,
    clusters_dir: PathBuf,
    base: u32,
    count: u32,
    taken: Mutex<BTreeMap<Uuid, u32>>,
}

impl Users {
    /// Reads the table. A table that is there but unreadable is an error: starting with an empty one would
    /// give users out a second time.
    pub fn open(state_dir: &Path, clusters_dir: &Path, base: u32, count: u32) -> std::io::Result<Self> {
        let file = state_dir.join("users.json");
        let taken = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, clusters_dir: clusters_dir.to_owned(), base, count, taken: Mutex::new(taken) })
    }

    /// The cluster's user; the same one each time.
    pub fn of(&self, cluster: Uuid) -> Result<u32, UsersError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = taken.get(&cluster) {
            return Ok(*user);
        }
        let mut folders = self.owners_of_folders();
        // A folder whose entry was lost with the table keeps its user, if nobody else has that one.
        let own = folders.remove(&cluster.simple().to_string());
        let range = self.base..self.base + self.count;
        // Processes that outlived a lost table; what belongs to this cluster's own folder is its own.
        let busy = users_of_processes()?;
        let free = |user: &u32| {
            !taken.values().any(|other| other == user) && !folders.values().any(|other| other == user)
        };
        let user = own
            .filter(|user| range.contains(user) && free(user))
            .or_else(|| range.clone().find(|user| free(user) && !busy.contains(user)))
            .ok_or(UsersError::Exhausted(self.count))?;
        taken.insert(cluster, user);
        if let Err(error) = folder::write_json(&self.file, &*taken, Durable::Yes) {
            taken.remove(&cluster);
            return Err(error.into());
        }
        Ok(user)
    }

    /// The cluster's user, if it has one.
    pub fn taken(&self, cluster: Uuid) -> Option<u32> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(&cluster).copied()
    }

    /// Gives a user back. Only for a cluster of which nothing is left.
    pub fn free(&self, cluster: Uuid) -> Result<(), UsersError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.remove(&cluster).is_some() {
            folder::write_json(&self.file, &*taken, Durable::Yes)?;
        }
        Ok(())
    }

    fn owners_of_folders(&self) -> BTreeMap<String, u32> {
        let entries = std::fs::read_dir(&self.clusters_dir).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.metadata().ok()?.uid())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(folder: &Path, count: u32) -> Users {
        Users::open(folder, &folder.join("clusters"), 700_000, count).unwrap()
    }

    #[test]
    fn a_cluster_keeps_its_user_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = users(folder.path(), 9);
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!((first.of(one).unwrap(), first.of(two).unwrap()), (700_000, 700_001));
        let second = users(folder.path(), 9);
        assert_eq!((second.of(two).unwrap(), second.of(one).unwrap()), (700_001, 700_000));
    }

    #[test]
    fn a_user_is_given_on_only_after_it_was_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let users = users(folder.path(), 2);
        let ids: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        users.of(ids[0]).unwrap();
        users.of(ids[1]).unwrap();
        assert!(matches!(users.of(ids[2]), Err(UsersError::Exhausted(2))));
        users.free(ids[0]).unwrap();
        assert_eq!(users.of(ids[2]).unwrap(), 700_000);
    }

    #[test]
    fn a_user_with_a_living_process_is_not_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        let users = Users::open(folder.path(), &folder.path().join("clusters"), own, 2).unwrap();
        assert_eq!(users.of(Uuid::from_u128(1)).unwrap(), own + 1);
    }

    #[test]
    fn a_broken_table_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("users.json"), b"{").unwrap();
        assert!(Users::open(folder.path(), folder.path(), 700_000, 2).is_err());
    }
}
