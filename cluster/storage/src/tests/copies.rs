//! A copy follows its leader: offsets and epochs kept, an end that the leader does not have cut off, and what is
//! committed kept through every crash.

use std::io::ErrorKind;

use super::sample::batch;
use super::world::{DEADLINE, open, read_all};
use crate::batch::{self, Batch, Limits};
use crate::disk::simulated::{Fault, Random, SimulatedDisk};
use crate::{AppendError, Commit, Config, Durability, Isolation, Partition, TruncateError};

const LIMITS: Limits = Limits { batch_bytes: 1 << 20, batches: 1 << 10 };

fn told(leader_epoch: i32) -> Config {
    Config { segment_bytes: 1024, commit: Commit::Told, leader_epoch, ..Config::default() }
}

/// Appends as the leader of this epoch.
async fn lead(partition: &Partition, epoch: i32, values: &[&str]) {
    partition.configure(told(epoch));
    for value in values {
        partition.append(vec![batch(&[value.as_bytes(), b"and"])]).await.unwrap();
    }
}

/// What a leader sends from an offset on, one run of batches for each epoch.
async fn sent(leader: &Partition, from: i64) -> Vec<Vec<Batch>> {
    let mut runs: Vec<Vec<Batch>> = Vec::new();
    let mut at = from;
    while at < leader.offsets().leo {
        let slice = leader.read(at, 1 << 20, Isolation::Uncommitted).await.unwrap();
        at = slice.next_offset;
        for batch in batch::split(&slice.bytes, LIMITS).unwrap() {
            match runs.last_mut().filter(|run| run[0].header().leader_epoch == batch.header().leader_epoch) {
                Some(run) => run.push(batch),
                None => runs.push(vec![batch]),
            }
        }
    }
    runs
}

/// The epoch in which copies follow, whatever those of the batches are.
const FOLLOWED: i32 = 7;

async fn follow(copy: &Partition, leader: &Partition) {
    copy.configure(told(FOLLOWED));
    for run in sent(leader, copy.offsets().leo).await {
        copy.enqueue_copy(FOLLOWED, run).await.unwrap().await.unwrap();
    }
}

async fn stored(partition: &Partition) -> Vec<Batch> {
    sent(partition, partition.offsets().log_start).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_copy_is_the_leaders_log_byte_by_byte() {
    let (there, here) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let leader = open(&there, &told(3)).await.unwrap();
    lead(&leader, 3, &["one", "two"]).await;
    lead(&leader, 5, &["three"]).await;
    let copy = open(&here, &told(0)).await.unwrap();
    follow(&copy, &leader).await;
    assert_eq!(stored(&copy).await, stored(&leader).await);
    let copy = open(&here.restart(), &told(0)).await.unwrap();
    assert_eq!(stored(&copy).await, stored(&leader).await);
    for (offset, epoch) in [(0, None), (1, Some(3)), (4, Some(3)), (5, Some(5)), (6, Some(5))] {
        assert_eq!(copy.epoch_before(offset), epoch, "before {offset}");
    }
    for (epoch, end) in
        [(2, None), (3, Some((3, 4))), (4, Some((3, 4))), (5, Some((5, 6))), (9, Some((5, 6)))]
    {
        assert_eq!(copy.end_of_epoch(epoch), end, "epoch {epoch}");
    }
}

#[tokio::test]
async fn an_error_at_any_operation_of_a_cut_leaves_a_log_that_opens_again() {
    for at in 1.. {
        let disk = SimulatedDisk::new(at);
        let copy = open(&disk, &told(3)).await.unwrap();
        lead(&copy, 3, &["one", "two", "three"]).await;
        copy.commit(2);
        copy.close().await;
        let copy = open(&disk, &told(3)).await.unwrap();
        let before = stored(&copy).await;
        disk.set_fault(Some(Fault { at, kind: ErrorKind::Other, lasting: false }));
        copy.truncate(2).await.ok();
        let fired = disk.fault_fired();
        copy.close().await;
        disk.set_fault(None);
        for disk in [disk.copy(), disk.restart()] {
            let after = match open(&disk, &told(3)).await {
                Ok(copy) => stored(&copy).await,
                Err(error) => panic!("an error at operation {at} of the cut: {error}"),
            };
            assert!(!after.is_empty() && before.starts_with(&after), "an error at operation {at} of the cut");
        }
        if !fired {
            assert!(at > 10, "{at} operations are no cut");
            return;
        }
    }
}

#[tokio::test]
async fn batches_that_do_not_follow_on_are_refused_and_leave_no_trace() {
    let leader = open(&SimulatedDisk::new(1), &told(1)).await.unwrap();
    lead(&leader, 1, &["one", "two", "three"]).await;
    let copy = open(&SimulatedDisk::new(2), &told(0)).await.unwrap();
    let runs = sent(&leader, 2).await;
    let refused = copy.enqueue_copy(0, runs[0].clone()).await.unwrap().await;
    assert_eq!(refused, Err(AppendError::OutOfOrder { expected: 0, found: 2 }));
    follow(&copy, &leader).await;
    assert_eq!(stored(&copy).await, stored(&leader).await);
}

#[tokio::test]
async fn what_is_committed_is_what_was_told_and_is_found_again() {
    let disk = SimulatedDisk::new(1);
    let copy = open(&disk, &told(1)).await.unwrap();
    lead(&copy, 1, &["one", "two", "three"]).await;
    assert_eq!(copy.offsets().hw, 0);
    for (told, now) in [(4, 4), (2, 4), (99, 6)] {
        copy.commit(told);
        assert_eq!(copy.offsets().hw, now, "told {told}");
    }
    copy.close().await;
    let again = open(&disk.restart(), &told(1)).await.unwrap();
    let hw = again.offsets().hw;
    assert!((0..=6).contains(&hw), "{hw}");
    // Without a power cut in between it is exact.
    let again = open(&disk.copy(), &told(1)).await.unwrap();
    assert_eq!((again.offsets().hw, again.offsets().leo), (6, 6));
}

#[tokio::test]
async fn an_end_that_the_leader_does_not_have_is_cut_off() {
    for (to, left) in [(6, 6), (5, 4), (4, 4), (3, 2), (2, 2), (1, 0), (0, 0)] {
        let disk = SimulatedDisk::new(1);
        let copy = open(&disk, &told(1)).await.unwrap();
        lead(&copy, 1, &["one", "two"]).await;
        lead(&copy, 2, &["three"]).await;
        let before = stored(&copy).await;
        assert_eq!(copy.truncate(to).await, Ok(left), "to {to}");
        assert_eq!((copy.offsets().leo, *copy.watch_durable().borrow()), (left, left));
        assert_eq!(stored(&copy).await, before[..left as usize / 2], "to {to}");
        lead(&copy, 7, &["another"]).await;
        assert_eq!(copy.epoch_before(left + 1), Some(7));
        let left = stored(&copy).await;
        let again = open(&disk.restart(), &told(1)).await.unwrap();
        assert_eq!(stored(&again).await, left, "to {to}");
    }
}

#[tokio::test]
async fn committed_records_are_never_cut_off() {
    let copy = open(&SimulatedDisk::new(1), &told(1)).await.unwrap();
    lead(&copy, 1, &["one", "two"]).await;
    copy.commit(2);
    assert_eq!(copy.truncate(0).await, Err(TruncateError::Committed { hw: 2 }));
    assert_eq!(copy.truncate(1).await, Err(TruncateError::Committed { hw: 2 }));
    assert_eq!(copy.truncate(2).await, Ok(2));
    assert_eq!(read_all(&copy).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_power_cut_while_cutting_leaves_the_start_of_what_was_there() {
    for seed in 0..300 {
        let disk = SimulatedDisk::new(seed);
        let mut random = Random(seed);
        let copy = open(&disk, &told(1)).await.unwrap();
        let long = "x".repeat(400);
        for epoch in 1..4 {
            lead(&copy, epoch, &["short", &long, &long]).await;
        }
        let (before, end) = (stored(&copy).await, copy.offsets().leo);
        let keep = random.below(end as u64 / 2) as i64 * 2;
        let to = keep + random.below((end - keep) as u64) as i64;
        copy.commit(keep);
        disk.cut_power_after(1 + random.below(12));
        let cut = tokio::time::timeout(DEADLINE, copy.truncate(to)).await.unwrap();
        let again = open(&disk.restart(), &told(1)).await.unwrap();
        let found = stored(&again).await;
        assert_eq!(found, before[..found.len()], "seed {seed}");
        let least = to / 2 * 2;
        assert!(again.offsets().leo >= least, "seed {seed}: {} of {least}", again.offsets().leo);
        if cut.is_ok() {
            assert_eq!(again.offsets().leo, least, "seed {seed}");
        }
        assert_eq!(again.truncate(least).await, Ok(least), "seed {seed}");
        follow(&again, &again.clone()).await;
    }
}

#[tokio::test]
async fn a_power_cut_while_cutting_what_was_not_yet_on_disk_leaves_a_log_that_opens() {
    let in_memory = Config { durability: Durability::Memory, ..told(1) };
    for at in 1..12 {
        let disk = SimulatedDisk::new(at);
        let copy = open(&disk, &in_memory).await.unwrap();
        for value in [b"one", b"two", b"six", b"ten"] {
            copy.append(vec![batch(&[value, b"and"])]).await.unwrap();
        }
        let before = stored(&copy).await;
        disk.cut_power_after(at);
        let _ = tokio::time::timeout(DEADLINE, copy.truncate(6)).await.unwrap();
        let again = open(&disk.restart(), &in_memory).await.unwrap();
        let found = stored(&again).await;
        assert_eq!(found, before[..found.len()], "power cut {at}");
    }
}

#[tokio::test]
async fn who_says_what_is_committed_can_change_while_records_come() {
    let disk = SimulatedDisk::new(1);
    let alone = Config { commit: Commit::Alone, ..told(1) };
    let partition = open(&disk, &alone).await.unwrap();
    partition.append(vec![batch(&[b"one"])]).await.unwrap();
    assert_eq!(partition.offsets().hw, 1);
    partition.configure(told(1));
    partition.append(vec![batch(&[b"two"])]).await.unwrap();
    assert_eq!((partition.offsets().hw, partition.offsets().leo), (1, 2), "nobody has said it");
    partition.commit(2);
    partition.append(vec![batch(&[b"three"])]).await.unwrap();
    assert_eq!(partition.offsets().hw, 2);
    partition.configure(alone);
    assert_eq!(partition.offsets().hw, 3, "what is durable is committed, without a further record");
    partition.append(vec![batch(&[b"four"])]).await.unwrap();
    assert_eq!(partition.offsets().hw, 4);
}

#[tokio::test]
async fn a_copy_lets_go_of_what_its_leader_let_go_and_of_nothing_uncommitted() {
    let partition = open(&SimulatedDisk::new(1), &told(1)).await.unwrap();
    let values: Vec<String> = (0..40).map(|number| format!("{number:0>100}")).collect();
    lead(&partition, 1, &values.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let end = partition.offsets().leo;
    partition.commit(end / 2);
    partition.let_go(end);
    partition.maintain().await.unwrap();
    let kept_from = partition.offsets().log_start;
    assert!(kept_from > 0 && kept_from <= end / 2, "{kept_from} of {end}");
    partition.commit(end);
    partition.let_go(kept_from);
    partition.maintain().await.unwrap();
    assert_eq!(partition.offsets().log_start, kept_from);
    assert_eq!(read_all(&partition).await.unwrap().len() as i64, end - kept_from);
}

#[tokio::test]
async fn what_was_to_be_stored_in_another_epoch_is_refused() {
    let partition = open(&SimulatedDisk::new(1), &told(3)).await.unwrap();
    partition.enqueue_in(3, vec![batch(&[b"one"])]).await.unwrap().await.unwrap();
    partition.configure(told(4));
    let late = partition.enqueue_in(3, vec![batch(&[b"two"])]).await.unwrap().await;
    assert_eq!(late, Err(AppendError::OtherEpoch));
    assert_eq!(partition.offsets().leo, 1);
    partition.enqueue_in(4, vec![batch(&[b"two"])]).await.unwrap().await.unwrap();
    assert_eq!(partition.epoch_before(2), Some(4));
}

#[tokio::test]
async fn what_a_leader_before_sent_is_refused_once_another_is_followed() {
    let leader = open(&SimulatedDisk::new(1), &told(3)).await.unwrap();
    lead(&leader, 3, &["one", "two"]).await;
    let copy = open(&SimulatedDisk::new(2), &told(3)).await.unwrap();
    let runs = sent(&leader, 0).await;
    copy.enqueue_copy(3, runs[0][..1].to_vec()).await.unwrap().await.unwrap();
    copy.configure(told(4));
    let late = copy.enqueue_copy(3, runs[0][1..].to_vec()).await.unwrap().await;
    assert_eq!(late, Err(AppendError::OtherEpoch));
    assert_eq!(copy.offsets().leo, 2);
    // The next leader has them too.
    copy.enqueue_copy(4, runs[0][1..].to_vec()).await.unwrap().await.unwrap();
    assert_eq!(stored(&copy).await, stored(&leader).await);
}
