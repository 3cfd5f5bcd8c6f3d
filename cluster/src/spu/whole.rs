//! The last epoch of which each copy is whole: it has all that the epoch's leader began with. Kept durably, since an SC
//! without a disk finds out by it which copy has every acknowledged record (`sc/decide/leaderless.rs`).
//!
//! The epoch of a copy's last record says too little: a leader of epoch 7 may commit what one of epoch 3 wrote, while a copy
//! that is not in sync ends with a record of epoch 5 that nobody else kept (the Raft paper's figure 8; a leader there
//! begins with a record of its own, which has no place in a log whose offsets clients see). So a leader commits nothing
//! before all in sync are whole, and none of them says that it is before that is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster_storage::disk::{Disk, RealDisk};
use cluster_storage::{OpenError, document};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// Version of the document's content: a JSON array of [`Entry`].
const VERSION: u32 = 1;

/// A partition by its topic's incarnation and its number.
pub(super) type CopyId = (Uuid, u32);

#[derive(Serialize, Deserialize)]
struct Entry {
    topic_id: Uuid,
    partition: u32,
    epoch: u32,
}

/// What is known, and what of it is on disk.
#[derive(Debug, Default)]
struct Known {
    epochs: BTreeMap<CopyId, u32>,
    n_changes: u64,
    n_kept: u64,
}

/// The epochs of one SPU's copies.
#[derive(Debug)]
pub(super) struct Wholes {
    folder: PathBuf,
    known: Arc<Mutex<Known>>,
    /// Whoever waits for it finds most often that the one before has written its change, too. A write that nobody waits
    /// for any more keeps its turn until it is done.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Wholes {
    /// What the SPU of this folder kept, of the copies that are on its disk.
    pub(super) async fn load(folder: &Path, on_disk: BTreeSet<CopyId>) -> Result<Self, OpenError> {
        let kept = read(&RealDisk, folder)?;
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|(copy, _)| on_disk.contains(copy));
        let known = Known {
            epochs: here.into_iter().collect(),
            // A copy that is gone must not be whole when it is made again.
            n_changes: u64::from(!elsewhere.is_empty()),
            n_kept: 0,
        };
        let wholes =
            Self { folder: folder.to_owned(), known: Arc::new(Mutex::new(known)), writing: Arc::default() };
        wholes.keep_changes().await.map_err(OpenError::io(path(folder)))?;
        Ok(wholes)
    }

    /// The last epoch of which this copy is whole, if any.
    pub(super) fn of(&self, copy: CopyId) -> Option<u32> {
        self.lock().epochs.get(&copy).copied()
    }

    /// The copies are whole in these epochs; on disk when this returns.
    pub(super) async fn are(&self, whole: impl IntoIterator<Item = (CopyId, u32)>) -> io::Result<()> {
        {
            let mut known = self.lock();
            for (copy, epoch) in whole {
                if known.epochs.get(&copy).is_none_or(|known| *known < epoch) {
                    known.epochs.insert(copy, epoch);
                    known.n_changes += 1;
                }
            }
        }
        self.keep_changes().await
    }

    /// The copy is thrown away; on disk when this returns.
    pub(super) async fn forget(&self, copy: CopyId) -> io::Result<()> {
        {
            let mut known = self.lock();
            if known.epochs.remove(&copy).is_some() {
                known.n_changes += 1;
            }
        }
        self.keep_changes().await
    }

    async fn keep_changes(&self) -> io::Result<()> {
        let wanted = self.lock().n_changes;
        let turn = Arc::clone(&self.writing).lock_owned().await;
        if self.lock().n_kept >= wanted {
            return Ok(());
        }
        let (folder, known) = (self.folder.clone(), Arc::clone(&self.known));
        let write = move || {
            let _turn = turn;
            write_known(&folder, &known)
        };
        spawn_blocking(write).await?
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_known(folder: &Path, known: &Mutex<Known>) -> io::Result<()> {
    let (epochs, n_changes) = {
        let known = lock(known);
        (known.epochs.clone(), known.n_changes)
    };
    write(&RealDisk, folder, &epochs)?;
    lock(known).n_kept = n_changes;
    Ok(())
}

fn path(folder: &Path) -> PathBuf {
    folder.join("whole")
}

/// What is on this disk.
pub(super) fn read(disk: &dyn Disk, folder: &Path) -> Result<BTreeMap<CopyId, u32>, OpenError> {
    let kept: Vec<Entry> = document::load_json(disk, &path(folder), VERSION)?.unwrap_or_default();
    Ok(kept.into_iter().map(|kept| ((kept.topic_id, kept.partition), kept.epoch)).collect())
}

/// Replaces it; on disk when this returns. Blocks.
pub(super) fn write(disk: &dyn Disk, folder: &Path, epochs: &BTreeMap<CopyId, u32>) -> io::Result<()> {
    let entry = |(copy, epoch): (&CopyId, &u32)| Entry { topic_id: copy.0, partition: copy.1, epoch: *epoch };
    disk.create_dir(folder)?;
    document::save_json(disk, &path(folder), VERSION, &epochs.iter().map(entry).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPIES: [CopyId; 3] = [(Uuid::from_u128(1), 0), (Uuid::from_u128(1), 1), (Uuid::from_u128(2), 0)];

    async fn load(folder: &Path, on_disk: &[CopyId]) -> Wholes {
        Wholes::load(folder, on_disk.iter().copied().collect()).await.unwrap()
    }

    #[tokio::test]
    async fn what_copies_are_whole_of_is_kept_never_goes_back_and_goes_with_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let of = |wholes: &Wholes| COPIES.map(|copy| wholes.of(copy));
        let wholes = load(folder, &COPIES).await;
        assert_eq!(of(&wholes), [None; 3]);
        wholes.are([(COPIES[0], 7), (COPIES[1], 3), (COPIES[2], 1)]).await.unwrap();
        wholes.are([(COPIES[0], 5)]).await.unwrap();
        assert_eq!(of(&load(folder, &COPIES).await), [Some(7), Some(3), Some(1)]);
        wholes.forget(COPIES[1]).await.unwrap();
        assert_eq!(of(&load(folder, &COPIES).await), [Some(7), None, Some(1)]);
        // A log that was lost, and then made again.
        load(folder, &COPIES[1..]).await;
        assert_eq!(of(&load(folder, &COPIES).await), [None, None, Some(1)]);
    }

    #[tokio::test]
    async fn a_write_that_nobody_waits_for_is_not_mixed_up_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let wholes = load(folder.path(), &COPIES).await;
        for epoch in (1..200).step_by(2) {
            let mut given_up = Box::pin(wholes.are([(COPIES[0], epoch)]));
            assert!(futures_util::poll!(&mut given_up).is_pending());
            drop(given_up);
            wholes.are([(COPIES[0], epoch + 1)]).await.unwrap();
            assert_eq!(load(folder.path(), &COPIES).await.of(COPIES[0]), Some(epoch + 1));
        }
    }

    #[tokio::test]
    async fn many_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let copies: Vec<CopyId> = (0..50).map(|partition| (Uuid::from_u128(9), partition)).collect();
        let wholes = load(folder.path(), &copies).await;
        let kept = copies.iter().map(|copy| wholes.are([(*copy, 4)]));
        assert!(futures_util::future::join_all(kept).await.into_iter().all(|kept| kept.is_ok()));
        let again = load(folder.path(), &copies).await;
        assert!(copies.iter().all(|copy| again.of(*copy) == Some(4)));
    }
}
