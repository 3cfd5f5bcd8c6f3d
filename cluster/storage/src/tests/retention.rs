//! What is too old or too much goes; nothing else does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::sample::{batch_bytes, filled, records, reseal};
use super::world::{DEADLINE, clock, name, read_all};
use crate::batch::Batch;
use crate::disk::simulated::SimulatedDisk;
use crate::{AppendError, Config, Full, Isolation, Maintained, Partition, ReadError, Store};

const HOUR_MS: i64 = 3_600_000;

fn aged(segment_bytes: u64) -> Config {
    Config { segment_bytes, retention: Some(Duration::from_secs(3600)), ..Config::default() }
}

fn store(disk: &SimulatedDisk, clock: &Arc<crate::clock::ManualClock>, quota: u64, reserve: u64) -> Store {
    Store::over(Path::new("/data"), Arc::new(disk.clone()), Arc::clone(clock) as _, quota, reserve)
}

async fn append(partition: &Partition, count: usize, size: usize) {
    for _ in 0..count {
        partition.append(vec![filled(1, size)]).await.unwrap();
    }
}

#[tokio::test]
async fn old_segments_go_and_the_active_one_too_once_it_is_old() {
    let (disk, clock) = (SimulatedDisk::new(1), clock());
    let store = store(&disk, &clock, u64::MAX, 0);
    let partition = store.open(&name(), aged(1024)).await.unwrap();
    append(&partition, 3, 700).await;
    clock.advance(HOUR_MS / 2);
    append(&partition, 3, 700).await;
    clock.advance(HOUR_MS / 2);
    assert_eq!(partition.maintain().await.unwrap(), Maintained::default(), "not a moment too early");
    clock.advance(1);
    let done = partition.maintain().await.unwrap();
    assert_eq!(done.removed_segments, 3);
    assert_eq!(partition.offsets().log_start, 3);
    let evicted = partition.read(2, 1, Isolation::Committed).await;
    assert_eq!(evicted, Err(ReadError::Evicted { next: 3 }));
    assert_eq!(store.quota().used(), partition.size());
    assert_eq!(read_all(&partition).await.unwrap().len(), 3);
    clock.advance(HOUR_MS);
    assert_eq!(partition.maintain().await.unwrap().removed_segments, 3);
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start, offsets.leo, offsets.hw), (6, 6, 6));
    assert_eq!(store.quota().used(), partition.size());
    // Offsets are not given again, not after a power cut either.
    let after = super::world::open(&disk.restart(), &aged(1024)).await.unwrap();
    assert_eq!((after.offsets().log_start, after.offsets().leo), (6, 6));
    assert_eq!(after.append(vec![filled(2, 10)]).await.unwrap().base_offset, 6);
}

#[tokio::test]
async fn a_segment_is_as_old_as_its_last_record() {
    let (disk, clock) = (SimulatedDisk::new(1), clock());
    let store = store(&disk, &clock, u64::MAX, 0);
    let partition = store.open(&name(), aged(1 << 20)).await.unwrap();
    append(&partition, 1, 700).await;
    clock.advance(HOUR_MS - 1);
    append(&partition, 1, 700).await;
    // Its first record is old now, its last one is not.
    clock.advance(HOUR_MS / 2);
    assert_eq!(partition.maintain().await.unwrap(), Maintained::default());
    assert_eq!(read_all(&partition).await.unwrap().len(), 2);
    clock.advance(HOUR_MS / 2 + 1);
    assert_eq!(partition.maintain().await.unwrap().removed_segments, 1);
}

#[tokio::test]
async fn a_client_with_a_wrong_clock_neither_keeps_nor_loses_anything() {
    let (disk, clock) = (SimulatedDisk::new(1), clock());
    let partition = store(&disk, &clock, u64::MAX, 0).open(&name(), aged(1024)).await.unwrap();
    for stamp in [1i64, i64::MAX] {
        let mut bytes = batch_bytes(&[&[7; 700]]);
        bytes[35..43].copy_from_slice(&stamp.to_be_bytes());
        reseal(&mut bytes);
        partition.append(vec![Batch::parse(&bytes.into()).unwrap()]).await.unwrap();
    }
    clock.advance(HOUR_MS);
    assert_eq!(partition.maintain().await.unwrap().removed_segments, 0);
    clock.advance(1);
    assert_eq!(partition.maintain().await.unwrap().removed_segments, 2);
}

#[tokio::test]
async fn a_partition_over_its_size_loses_its_oldest_segments() {
    let (disk, clock) = (SimulatedDisk::new(1), clock());
    let store = store(&disk, &clock, u64::MAX, 0);
    let config = Config { segment_bytes: 1024, max_bytes: Some(5 * 1024), ..Config::default() };
    let partition = store.open(&name(), config).await.unwrap();
    append(&partition, 20, 700).await;
    assert!(partition.size() <= 5 * 1024, "{}", partition.size());
    assert!(partition.size() > 3 * 1024);
    let offsets = partition.offsets();
    assert_eq!(read_all(&partition).await.unwrap().len() as i64, offsets.leo - offsets.log_start);
    assert_eq!(store.quota().used(), partition.size());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_anything_odd_while_segments_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path(), u64::MAX, 0);
    let config = Config { segment_bytes: 1024, max_bytes: Some(4096), tail_bytes: 0, ..Config::default() };
    let partition = store.open(&name(), config).await.unwrap();
    append(&partition, 1, 300).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (partition, stop) = (partition.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut from, mut read, mut evicted) = (0, 0, 0);
                while !stop.load(Ordering::Relaxed) {
                    match partition.read(from, 2000, Isolation::Committed).await {
                        Ok(slice) if slice.bytes.is_empty() => from = slice.offsets.log_start,
                        Ok(slice) => {
                            assert_eq!(records(&slice.bytes)[0].0, from);
                            read += 1;
                            from = slice.next_offset;
                        }
                        Err(ReadError::Evicted { next }) => {
                            assert!(next > from);
                            evicted += 1;
                            from = next;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                (read, evicted)
            })
        })
        .collect();
    append(&partition, 1500, 300).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        let (read, _) = tokio::time::timeout(DEADLINE, reader).await.unwrap().unwrap();
        assert!(read > 0);
    }
}

#[tokio::test]
async fn the_quota_refuses_what_does_not_fit_and_counts_exactly() {
    let (disk, clock) = (SimulatedDisk::new(1), clock());
    let store = store(&disk, &clock, 2000, 0);
    let partition = store.open(&name(), Config::default()).await.unwrap();
    append(&partition, 2, 700).await;
    let (limit, used) = (2000, partition.size());
    assert_eq!(store.quota().used(), used);
    let refused = partition.append(vec![filled(1, 700)]).await;
    assert_eq!(refused, Err(AppendError::Full(Full::Quota { limit, used })));
    append(&partition, 1, 100).await;
    assert_eq!(store.quota().used(), partition.size());
    store.quota().set_limit(4000);
    append(&partition, 1, 700).await;
    partition.close().await;
    assert_eq!(store.quota().used(), 0);
    let partition = store.open(&name(), Config::default()).await.unwrap();
    assert_eq!(store.quota().used(), partition.size());
    assert_eq!(partition.offsets().leo, 4);
}

#[tokio::test]
async fn the_hosts_reserve_stays_free() {
    let (disk, clock) = (SimulatedDisk::new(1), clock());
    disk.set_free_space(10_000);
    let partition = store(&disk, &clock, u64::MAX, 9000).open(&name(), Config::default()).await.unwrap();
    append(&partition, 1, 500).await;
    let refused = partition.append(vec![filled(1, 2000)]).await;
    assert!(matches!(refused, Err(AppendError::Full(Full::Reserve { reserve: 9000, .. }))), "{refused:?}");
    disk.set_free_space(1 << 30);
    // The free space is looked at again after a while.
    let deadline = std::time::Instant::now() + DEADLINE;
    while partition.append(vec![filled(1, 2000)]).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "space came back and nobody noticed");
        tokio::task::yield_now().await;
    }
}
