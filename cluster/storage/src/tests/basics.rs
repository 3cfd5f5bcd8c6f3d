//! A partition on the machine's own disk does what it is for.

use std::path::Path;

use super::sample::{batch, filled, records};
use crate::{AppendError, Config, Isolation, Partition, PartitionName, ReadError, State, Store};

fn name() -> PartitionName {
    PartitionName::new("orders", 0).unwrap()
}

async fn open(root: &Path, config: Config) -> Partition {
    Store::new(root, u64::MAX, 0).open(&name(), config).await.unwrap()
}

async fn read_all(partition: &Partition) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut from = partition.offsets().log_start;
    loop {
        let slice = partition.read(from, 1 << 16, Isolation::Committed).await.unwrap();
        if slice.bytes.is_empty() {
            return found;
        }
        found.extend(records(&slice.bytes));
        from = slice.next_offset;
    }
}

#[tokio::test]
async fn what_was_appended_is_read_back_before_and_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for (segment_bytes, tail_bytes) in [(1 << 30, 0), (1 << 30, 1 << 20), (1024, 0), (1024, 4096)] {
        let root = folder.path().join(format!("{segment_bytes}-{tail_bytes}"));
        let config = Config { segment_bytes, tail_bytes, ..Config::default() };
        let mut expected = Vec::new();
        for round in 0..3u8 {
            let partition = open(&root, config.clone()).await;
            assert_eq!(read_all(&partition).await, expected);
            for number in 0..50u8 {
                let values = [vec![round; 3], vec![number; 40]];
                let base = expected.len() as i64;
                let appended = partition.append(vec![batch(&[&values[0], &values[1]])]).await.unwrap();
                assert_eq!((appended.base_offset, appended.next_offset), (base, base + 2));
                expected.extend(values.into_iter().enumerate().map(|(at, value)| (base + at as i64, value)));
            }
            assert_eq!(read_all(&partition).await, expected);
            partition.close().await;
            assert_eq!(partition.append(vec![filled(1, 1)]).await, Err(AppendError::Closed));
            assert!(matches!(partition.read(0, 1, Isolation::Committed).await, Err(ReadError::Closed)));
        }
    }
}

#[tokio::test]
async fn a_deleted_partition_leaves_nothing_and_may_be_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path(), u64::MAX, 0);
    assert!(store.list().await.unwrap().is_empty());
    let partition = store.open(&name(), Config::default()).await.unwrap();
    partition.append(vec![filled(1, 100)]).await.unwrap();
    assert_eq!(store.list().await.unwrap(), [name()]);
    assert_eq!(store.quota().used(), partition.size());
    partition.delete().await.unwrap();
    assert_eq!(partition.state(), State::Deleted);
    assert_eq!(store.quota().used(), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let again = store.open(&name(), Config::default()).await.unwrap();
    assert_eq!(again.offsets().leo, 0);
}
