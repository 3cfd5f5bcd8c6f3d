//! Failing disks: nothing is acknowledged that may be lost, and the partition comes back.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sample::{batch, filled};
use super::world::{DEADLINE, name, open, read_all, store};
use crate::disk::simulated::{Fault, SimulatedDisk};
use crate::{AppendError, Config, Durability, Full, Partition, State};

fn config() -> Config {
    Config { segment_bytes: 1024, max_bytes: Some(6 * 1024), tail_bytes: 0, ..Config::default() }
}

fn value(number: u32) -> Vec<u8> {
    let mut value = format!("value {number} ").into_bytes();
    // After a large one that needs another segment comes a small one that would still fit into this.
    value.resize([700, 700, 30, 30, 300][number as usize % 5], b'.');
    value
}

/// Opens, appends, maintains, closes, opens and appends again; returns what was acknowledged.
async fn work(disk: &SimulatedDisk) -> BTreeMap<i64, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    for life in 0..2 {
        let Ok(partition) = open(disk, &config()).await else { continue };
        for number in 0..8 {
            append(&partition, value(life * 100 + number), &mut acknowledged).await;
        }
        partition.maintain().await.ok();
        append(&partition, value(life * 100 + 50), &mut acknowledged).await;
        partition.close().await;
    }
    acknowledged
}

async fn append(partition: &Partition, value: Vec<u8>, acknowledged: &mut BTreeMap<i64, Vec<u8>>) {
    let was_read_only = matches!(partition.state(), State::ReadOnly { .. });
    let outcome = tokio::time::timeout(DEADLINE, partition.append(vec![batch(&[&value])]));
    match outcome.await.expect("an append hangs") {
        Ok(appended) => {
            assert!(!was_read_only, "acknowledged after the disk had failed");
            assert_eq!(acknowledged.insert(appended.base_offset, value), None, "an offset was given twice");
        }
        Err(AppendError::ReadOnly { .. } | AppendError::Full(_) | AppendError::Closed) => {}
        Err(other) => panic!("unexpected: {other}"),
    }
}

/// Whatever was acknowledged and not removed by retention is there after a power cut.
async fn check(disk: &SimulatedDisk, acknowledged: &BTreeMap<i64, Vec<u8>>, case: &str) {
    let partition = match open(&disk.restart(), &config()).await {
        Ok(partition) => partition,
        Err(error) => panic!("{case}: it does not come back: {error}"),
    };
    let found: BTreeMap<_, _> = read_all(&partition).await.unwrap().into_iter().collect();
    for (offset, value) in acknowledged.range(partition.offsets().log_start..) {
        assert_eq!(found.get(offset), Some(value), "{case}: acknowledged offset {offset}");
    }
    let appended = partition.append(vec![filled(1, 10)]).await.unwrap();
    assert_eq!(appended.base_offset, found.last_key_value().map_or(appended.base_offset, |last| last.0 + 1));
}

async fn every_operation_fails_once(kind: ErrorKind, lasting: bool) {
    for at in 1.. {
        let case = format!("{kind} at operation {at}, lasting {lasting}");
        let disk = SimulatedDisk::new(at);
        disk.set_fault(Some(Fault { at, kind, lasting }));
        let acknowledged = work(&disk).await;
        let fired = disk.fault_fired();
        disk.set_fault(None);
        check(&disk, &acknowledged, &case).await;
        if !fired {
            assert_eq!(acknowledged.len(), 18);
            assert!(at > 100, "the run is too short to mean anything");
            return;
        }
    }
}

#[tokio::test]
async fn an_error_at_any_operation_loses_nothing_acknowledged() {
    every_operation_fails_once(ErrorKind::Other, false).await;
}

#[tokio::test]
async fn a_disk_that_dies_at_any_operation_loses_nothing_acknowledged() {
    every_operation_fails_once(ErrorKind::Other, true).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_at_any_operation_loses_nothing_acknowledged() {
    every_operation_fails_once(ErrorKind::StorageFull, false).await;
    every_operation_fails_once(ErrorKind::StorageFull, true).await;
}

/// Makes the next sync of a file fail, and only that.
fn fail_next_sync(disk: &SimulatedDisk) {
    let (armed, failing) = (AtomicBool::new(true), disk.clone());
    disk.on_sync(Arc::new(move || {
        if armed.swap(false, Ordering::SeqCst) {
            failing.set_fault(Some(Fault { at: 1, kind: ErrorKind::Other, lasting: false }));
        }
    }));
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged_until_reopened() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config::default()).await.unwrap();
    partition.append(vec![filled(1, 10)]).await.unwrap();
    fail_next_sync(&disk);
    let failed = partition.append(vec![filled(2, 10)]).await;
    assert!(matches!(failed, Err(AppendError::ReadOnly { .. })), "{failed:?}");
    assert_eq!(disk.failed_syncs(), 1);
    // The disk is well again, and would say that the next sync succeeds.
    for _ in 0..3 {
        let refused = partition.append(vec![filled(3, 10)]).await;
        assert!(matches!(refused, Err(AppendError::ReadOnly { .. })));
    }
    assert!(matches!(partition.state(), State::ReadOnly { .. }));
    assert_eq!(partition.offsets().hw, 1);
    assert_eq!(read_all(&partition).await.unwrap().len(), 1, "what is committed stays readable");
    partition.close().await;
    let partition = open(&disk, &Config::default()).await.unwrap();
    let appended = partition.append(vec![filled(4, 10)]).await.unwrap();
    let before = read_all(&partition).await.unwrap();
    assert_eq!(before.last().unwrap().0, appended.base_offset);
    // The kernel had forgotten the second record while still showing it: recovery must not believe its eyes.
    for _ in 0..20 {
        let after = open(&disk.copy().restart(), &Config::default()).await.unwrap();
        assert_eq!(read_all(&after).await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    // The seed decides how much of the failed write comes through.
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let store = store(&disk);
        let partition = store.open(&name(), Config::default()).await.unwrap();
        partition.append(vec![filled(1, 2000)]).await.unwrap();
        // Through the writer once more, so that it is not at work any longer: the next operation is the write.
        partition.maintain().await.unwrap();
        disk.set_fault(Some(Fault { at: 1, kind: ErrorKind::StorageFull, lasting: false }));
        assert_eq!(partition.append(vec![filled(2, 2000)]).await, Err(AppendError::Full(Full::Disk)));
        assert_eq!(partition.state(), State::Open);
        let file = Path::new("/data").join(name().to_string()).join("00000000000000000000.log");
        assert_eq!(disk.bytes(&file).unwrap().len() as u64, partition.size(), "leftovers of a failed write");
        assert_eq!(store.quota().used(), partition.size());
        let appended = partition.append(vec![filled(3, 500)]).await.unwrap();
        assert_eq!(appended.base_offset, 1);
        let expected = [(0, vec![1; 2000]), (1, vec![3; 500])];
        assert_eq!(read_all(&partition).await.unwrap(), expected);
        let partition = open(&disk.restart(), &Config::default()).await.unwrap();
        assert_eq!(read_all(&partition).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_refused_batch_does_not_come_back_with_the_power_in_anothers_place() {
    let config = Config { durability: Durability::Memory, ..Config::default() };
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let partition = open(&disk, &config).await.unwrap();
        partition.append(vec![filled(1, 200)]).await.unwrap();
        partition.maintain().await.unwrap();
        disk.set_fault(Some(Fault { at: 1, kind: ErrorKind::StorageFull, lasting: false }));
        assert_eq!(partition.append(vec![filled(2, 200)]).await, Err(AppendError::Full(Full::Disk)));
        // Not synced: another copy may have it and this one lose it.
        partition.append(vec![filled(3, 200)]).await.unwrap();
        let after = open(&disk.restart(), &config).await.unwrap();
        let found: Vec<u8> = read_all(&after).await.unwrap().into_iter().map(|(_, value)| value[0]).collect();
        assert!(found == [1] || found == [1, 3], "seed {seed}: {found:?}");
    }
}

#[tokio::test]
async fn a_deleted_partition_does_not_come_back_with_the_power() {
    for seed in 0..20 {
        let disk = SimulatedDisk::new(seed);
        let partition = open(&disk, &config()).await.unwrap();
        partition.append(vec![filled(1, 100)]).await.unwrap();
        partition.delete().await.unwrap();
        assert!(store(&disk.restart()).list().await.unwrap().is_empty());
    }
}
