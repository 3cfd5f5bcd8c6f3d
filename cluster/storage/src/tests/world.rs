//! A store over a simulated disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use super::sample::records;
use crate::clock::ManualClock;
use crate::disk::simulated::SimulatedDisk;
use crate::{Config, Isolation, OpenError, Partition, PartitionName, ReadError, Store};

/// Longer than anything takes: a test that waits so long hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn name() -> PartitionName {
    PartitionName::new("orders", 0).unwrap()
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock(AtomicI64::new(1_800_000_000_000)))
}

pub(crate) fn store(disk: &SimulatedDisk) -> Store {
    Store::over(Path::new("/data"), Arc::new(disk.clone()), clock(), u64::MAX, 0)
}

pub(crate) async fn open(disk: &SimulatedDisk, config: &Config) -> Result<Partition, OpenError> {
    let store = store(disk);
    store.list().await?;
    tokio::time::timeout(DEADLINE, store.open(&name(), config.clone())).await.expect("opening hangs")
}

/// All committed records, which must be without a hole from the start of the log to its high-water mark.
pub(crate) async fn read_all(partition: &Partition) -> Result<Vec<(i64, Vec<u8>)>, ReadError> {
    let offsets = partition.offsets();
    let mut found = Vec::new();
    let mut from = offsets.log_start;
    while from < offsets.hw {
        let slice = partition.read(from, 1 << 12, Isolation::Committed).await?;
        assert_eq!(slice.base_offset, from);
        assert!(slice.next_offset > from);
        let read = records(&slice.bytes);
        assert_eq!(read.first().map(|first| first.0), Some(from));
        assert_eq!(read.last().map(|last| last.0 + 1), Some(slice.next_offset));
        found.extend(read);
        from = slice.next_offset;
    }
    assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "offsets with a hole");
    Ok(found)
}
