//! Many at once: order, isolation, whole batches, bounds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::sample::{batch, filled, records};
use super::world::{DEADLINE, open, read_all};
use crate::disk::simulated::SimulatedDisk;
use crate::{AppendError, Config, Durability, Isolation, ReadError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_many_get_offsets_without_hole_or_overlap_each_in_his_order() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config { segment_bytes: 8192, ..Config::default() }).await.unwrap();
    let producers: Vec<_> = (0..8u8)
        .map(|producer| {
            let partition = partition.clone();
            tokio::spawn(async move {
                let mut tickets = Vec::new();
                for number in 0..50u8 {
                    let value = [producer, number];
                    tickets.push(partition.enqueue(vec![batch(&[&value]), batch(&[&value, &value])]).await);
                }
                let mut offsets = Vec::new();
                for ticket in tickets {
                    let appended = ticket.unwrap().await.unwrap();
                    assert_eq!(appended.next_offset, appended.base_offset + 3);
                    // Acknowledged is committed, at once.
                    assert!(partition.offsets().hw >= appended.next_offset);
                    offsets.push(appended.base_offset);
                }
                assert!(offsets.is_sorted());
                offsets
            })
        })
        .collect();
    let mut all = HashSet::new();
    for producer in producers {
        all.extend(tokio::time::timeout(DEADLINE, producer).await.unwrap().unwrap());
    }
    assert_eq!(all, (0..400).map(|number| number * 3).collect());
    assert_eq!(read_all(&partition).await.unwrap().len(), 1200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sync_serves_all_who_came_during_the_one_before() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config::default()).await.unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (counted, held) = (Arc::clone(&syncs), std::sync::Mutex::new(held));
    disk.on_sync(Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        held.lock().unwrap().recv_timeout(DEADLINE).ok();
    }));
    let first = partition.enqueue(vec![filled(0, 10)]).await.unwrap();
    partition.watch_leo().wait_for(|leo| *leo == 1).await.unwrap();
    // The writer is in the first sync, or about to be; these wait for the next.
    let mut others = Vec::new();
    for number in 1..=100 {
        others.push((number, partition.enqueue(vec![filled(1, 10)]).await.unwrap()));
    }
    hold.send(()).unwrap();
    assert_eq!(first.await.unwrap().base_offset, 0);
    hold.send(()).unwrap();
    for (number, ticket) in others {
        assert_eq!(ticket.await.unwrap().base_offset, number);
    }
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_read_gives_whole_batches_and_at_least_one() {
    // With 4096, one of the batches is too large to be kept in memory.
    for tail_bytes in [0, 4096, 1 << 20] {
        let disk = SimulatedDisk::new(1);
        let partition = open(&disk, &Config { tail_bytes, ..Config::default() }).await.unwrap();
        let batches = [filled(0, 100), filled(1, 5000), filled(2, 100), batch(&[b"a", b"b", b"c"])];
        for batch in &batches {
            partition.append(vec![batch.clone()]).await.unwrap();
        }
        let lens: Vec<usize> = batches.iter().map(|batch| batch.bytes().len()).collect();
        // (from, max_bytes) and the batches that come.
        let cases = [
            (0, 0, 0..1),
            (0, lens[0], 0..1),
            (0, lens[0] + lens[1] - 1, 0..1),
            (0, lens[0] + lens[1], 0..2),
            (1, 10, 1..2),
            (1, usize::MAX >> 8, 1..4),
            (4, 1 << 20, 3..4),
            (5, 1 << 20, 3..4),
        ];
        for (from, max_bytes, expected) in cases {
            let slice = partition.read(from, max_bytes, Isolation::Committed).await.unwrap();
            let len: usize = lens[expected.clone()].iter().sum();
            assert_eq!(slice.bytes.len(), len, "from {from}, {max_bytes} bytes, tail {tail_bytes}");
            let found = records(&slice.bytes);
            assert!(slice.base_offset <= from && from < slice.next_offset);
            assert_eq!((found[0].0, found[found.len() - 1].0 + 1), (slice.base_offset, slice.next_offset));
        }
        let end = partition.read(6, 100, Isolation::Committed).await.unwrap();
        assert!(end.bytes.is_empty());
        assert_eq!(end.next_offset, 6);
        for outside in [-1, 7, i64::MAX] {
            let refused = partition.read(outside, 100, Isolation::Uncommitted).await;
            assert_eq!(refused, Err(ReadError::OutOfRange { end: 6 }));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_committed_is_shown_only_to_those_who_ask_for_it() {
    for tail_bytes in [0, 1 << 20] {
        let disk = SimulatedDisk::new(1);
        let partition = open(&disk, &Config { tail_bytes, ..Config::default() }).await.unwrap();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        disk.on_sync(Arc::new(move || {
            held.lock().unwrap().recv_timeout(DEADLINE).ok();
        }));
        let ticket = partition.enqueue(vec![filled(1, 10)]).await.unwrap();
        partition.watch_leo().wait_for(|leo| *leo == 1).await.unwrap();
        let committed = partition.read(0, 1000, Isolation::Committed).await.unwrap();
        assert!(committed.bytes.is_empty());
        let uncommitted = partition.read(0, 1000, Isolation::Uncommitted).await.unwrap();
        assert_eq!(records(&uncommitted.bytes), [(0, vec![1; 10])]);
        hold.send(()).unwrap();
        ticket.await.unwrap();
        let committed = partition.read(0, 1000, Isolation::Committed).await.unwrap();
        assert_eq!(committed.bytes, uncommitted.bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_makes_its_callers_wait() {
    let disk = SimulatedDisk::new(1);
    let config = Config { queue_bytes: 1024, ..Config::default() };
    let partition = open(&disk, &config).await.unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    disk.on_sync(Arc::new(move || {
        held.lock().unwrap().recv_timeout(DEADLINE).ok();
    }));
    let first = partition.enqueue(vec![filled(1, 700)]).await.unwrap();
    let waiting = tokio::spawn({
        let partition = partition.clone();
        // Larger than the queue: it waits until all of it is free.
        async move { partition.append(vec![filled(2, 5000)]).await }
    });
    partition.watch_leo().wait_for(|leo| *leo == 1).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(partition.offsets().leo, 1, "the queue took more than it holds");
    hold.send(()).unwrap();
    first.await.unwrap();
    hold.send(()).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().base_offset, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_does_not_answer_shows_in_how_long_the_writer_is_busy() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config::default()).await.unwrap();
    assert_eq!(partition.busy_for(), Duration::ZERO);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    disk.on_sync(Arc::new(move || {
        held.lock().unwrap().recv_timeout(DEADLINE).ok();
    }));
    let ticket = partition.enqueue(vec![filled(1, 10)]).await.unwrap();
    let one_step = Duration::from_millis(1);
    let longer = async |than| {
        while partition.busy_for() <= than {
            tokio::time::sleep(one_step).await;
        }
        partition.busy_for()
    };
    let busy = longer(Duration::ZERO).await;
    assert!(longer(busy).await > busy, "it counts from the beginning of what hangs");
    hold.send(()).unwrap();
    ticket.await.unwrap();
    while partition.busy_for() > Duration::ZERO {
        tokio::time::sleep(one_step).await;
    }
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_is_refused() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config { segment_bytes: 2048, ..Config::default() }).await.unwrap();
    let refused = partition.append(vec![filled(1, 2048)]).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { limit: 2048, .. })));
}

#[tokio::test]
async fn another_epoch_and_another_durability_take_force_while_it_runs() {
    let disk = SimulatedDisk::new(1);
    let config = Config { tail_bytes: 0, ..Config::default() };
    let partition = open(&disk, &config).await.unwrap();
    let epochs = |slice: crate::Slice| {
        let batch = crate::batch::Batch::parse(&slice.bytes).unwrap();
        (batch.header().base_offset, batch.header().leader_epoch)
    };
    // Once while there is nothing yet, then behind something.
    for (number, leader_epoch) in [3, 4, 9].into_iter().enumerate() {
        partition.configure(Config { leader_epoch, durability: Durability::Memory, ..config.clone() });
        partition.append(vec![filled(1, 10)]).await.unwrap();
        let number = number as i64;
        let slice = partition.read(number, 1, Isolation::Committed).await.unwrap();
        assert_eq!(epochs(slice), (number, leader_epoch));
    }
    partition.close().await;
    let reopened = open(&disk.restart(), &Config { leader_epoch: 9, ..config }).await.unwrap();
    assert_eq!(read_all(&reopened).await.unwrap().len(), 3, "an orderly end syncs");
    let slice = reopened.read(1, 1, Isolation::Committed).await.unwrap();
    assert_eq!(epochs(slice), (1, 4));
}

#[tokio::test]
async fn readers_who_wait_hear_of_the_end() {
    let disk = SimulatedDisk::new(1);
    let partition = open(&disk, &Config::default()).await.unwrap();
    let mut state = partition.watch_state();
    let deleting = tokio::spawn({
        let partition = partition.clone();
        async move { partition.delete().await }
    });
    tokio::time::timeout(DEADLINE, state.wait_for(|state| *state == crate::State::Deleted))
        .await
        .unwrap()
        .unwrap();
    deleting.await.unwrap().unwrap();
    partition.close().await;
    partition.delete().await.unwrap();
}
