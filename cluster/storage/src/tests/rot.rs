//! Bit rot: every flipped bit is found where it is, mended from another copy, and no crash makes it worse.

use std::path::{Path, PathBuf};

use super::sample::batch;
use super::world::{name, open, read_all};
use crate::batch::{self, Limits};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::{Commit, Config, Damage, Isolation, Partition, ReadError, RepairError};

const LIMITS: Limits = Limits { batch_bytes: 1 << 20, batches: 1 << 10 };
const EVERYTHING: u64 = u64::MAX;

fn config(segment_bytes: u64) -> Config {
    Config { segment_bytes, tail_bytes: 0, commit: Commit::Told, leader_epoch: 4, ..Config::default() }
}

fn folder() -> PathBuf {
    Path::new("/data").join(name().to_string())
}

fn log_file(base: i64) -> PathBuf {
    folder().join(format!("{base:020}.log"))
}

fn index_file(base: i64) -> PathBuf {
    folder().join(format!("{base:020}.index"))
}

fn flip(disk: &SimulatedDisk, file: &Path, bit: usize) {
    disk.damage(file, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
}

/// A leader and its copy, the same batches on both, all committed: two records a batch, of these sizes.
async fn two(sizes: &[usize], segment_bytes: u64) -> [(SimulatedDisk, Partition); 2] {
    let (there, here) = (SimulatedDisk::new(1), SimulatedDisk::new(2));
    let leader = open(&there, &config(segment_bytes)).await.unwrap();
    // Its segments need not end where the other's do.
    let copy = open(&here, &config(segment_bytes + 300)).await.unwrap();
    for (number, size) in sizes.iter().enumerate() {
        let value = vec![number as u8; *size];
        leader.append(vec![batch(&[&value, b"and"])]).await.unwrap();
    }
    let slice = |from| leader.read(from, 1, Isolation::Uncommitted);
    while copy.offsets().leo < leader.offsets().leo {
        let batches = batch::split(&slice(copy.offsets().leo).await.unwrap().bytes, LIMITS).unwrap();
        copy.enqueue_copy(4, batches).await.unwrap().await.unwrap();
    }
    let leo = leader.offsets().leo;
    for each in [&leader, &copy] {
        each.commit(leo);
    }
    [(there, leader), (here, copy)]
}

/// All damage of a log, by looks of this many bytes.
async fn scrub(log: &Partition, step: u64) -> Vec<Damage> {
    let mut found: Vec<Damage> = Vec::new();
    for base in log.segments() {
        let mut at = base;
        loop {
            let seen = log.scrub(at, step).await.unwrap();
            assert!(seen.ended || seen.next_offset > at);
            found.extend(seen.damage.into_iter().filter(|new| !found.contains(new)).collect::<Vec<_>>());
            if seen.ended {
                break;
            }
            at = seen.next_offset;
        }
    }
    found
}

/// Mends from another copy as an SPU does, in small pieces.
async fn mend(log: &Partition, from: &Partition, damage: Vec<Damage>) -> Result<Vec<bool>, RepairError> {
    let mut repair = log.repair(damage.clone()).await?;
    for (number, damage) in damage.iter().enumerate() {
        let mut at = damage.from;
        while at < damage.to {
            let Ok(slice) = from.read(at, 1, Isolation::Committed).await else { break };
            at = repair.put(number, slice.bytes).await?;
        }
    }
    repair.finish().await
}

fn places(damage: &[Damage]) -> Vec<(i64, i64, i64)> {
    damage.iter().map(|damage| (damage.segment, damage.from, damage.to)).collect()
}

/// Where the batches of a log file begin and end.
fn runs(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut runs, mut at) = (Vec::new(), 36);
    while at < bytes.len() {
        let end = at + batch::Header::parse(&bytes[at..]).unwrap().total_bytes;
        runs.push(at..end);
        at = end;
    }
    runs
}

#[tokio::test]
async fn every_flipped_bit_of_an_open_segment_is_found_and_mended_byte_for_byte() {
    let [(_, leader), (disk, copy)] = two(&[10, 80, 30], 1 << 20).await;
    copy.close().await;
    let whole = disk.bytes(&log_file(0)).unwrap();
    for bit in 0..whole.len() * 8 {
        let damaged = disk.copy();
        let copy = open(&damaged, &config(1 << 20)).await.unwrap();
        flip(&damaged, &log_file(0), bit);
        let found = scrub(&copy, EVERYTHING).await;
        assert_eq!(found.len(), 1, "bit {bit}: {found:?}");
        let run = found[0].position as usize..found[0].end as usize;
        assert!(run.contains(&(bit / 8)), "bit {bit} is not in {run:?}");
        assert_eq!(mend(&copy, &leader, found).await.unwrap(), [true], "bit {bit}");
        assert_eq!(damaged.bytes(&log_file(0)).unwrap(), whole, "bit {bit}");
        assert!(scrub(&copy, 1).await.is_empty(), "bit {bit}");
        assert!(read_all(&copy).await.unwrap() == read_all(&leader).await.unwrap(), "bit {bit}");
    }
}

#[tokio::test]
async fn what_is_damaged_is_one_batch_and_no_more() {
    // Segments of three and four batches, so that the copy's do not end where the leader's do.
    let [(_, leader), (disk, copy)] = two(&[200; 20], 1024).await;
    for base in copy.segments() {
        let whole = disk.bytes(&log_file(base)).unwrap();
        for (number, run) in runs(&whole).into_iter().enumerate() {
            flip(&disk, &log_file(base), (run.end - 20) * 8);
            let first = base + 2 * number as i64;
            for step in [1, 300, EVERYTHING] {
                let found = scrub(&copy, step).await;
                assert_eq!(places(&found), [(base, first, first + 2)], "looks of {step}");
                assert_eq!((found[0].position, found[0].end), (run.start as u64, run.end as u64));
            }
            let damage = scrub(&copy, EVERYTHING).await;
            assert_eq!(mend(&copy, &leader, damage).await.unwrap(), [true]);
            assert_eq!(disk.bytes(&log_file(base)).unwrap(), whole);
        }
    }
    assert!(read_all(&copy).await.unwrap() == read_all(&leader).await.unwrap());
}

#[tokio::test]
async fn whatever_is_damaged_in_a_segment_is_mended_at_once() {
    let [(_, leader), (disk, copy)] = two(&[3000; 30], 30_000).await;
    let whole = disk.bytes(&log_file(0)).unwrap();
    let runs = runs(&whole);
    // The file's header, a length, two neighbours, a batch that no index entry precedes, and the last one.
    for at in [9, runs[1].start + 10, runs[4].end - 1, runs[5].start + 70, runs[runs.len() - 1].start + 20] {
        flip(&disk, &log_file(0), at * 8 + 3);
    }
    let found = scrub(&copy, EVERYTHING).await;
    assert!(found.len() >= 4, "{found:?}");
    assert_eq!(mend(&copy, &leader, found.clone()).await.unwrap(), vec![true; found.len()]);
    assert_eq!(disk.bytes(&log_file(0)).unwrap(), whole);
    assert!(scrub(&copy, EVERYTHING).await.is_empty());
}

#[tokio::test]
async fn without_an_index_damage_reaches_to_the_segments_end_and_is_mended_all_the_same() {
    let [(_, leader), (disk, copy)] = two(&[3000; 12], 1 << 20).await;
    copy.close().await;
    let whole = disk.bytes(&log_file(0)).unwrap();
    let copy = open(&disk, &config(1 << 20)).await.unwrap();
    disk.damage(&index_file(0), Vec::clear);
    let at = runs(&whole)[2].start + 9;
    flip(&disk, &log_file(0), at * 8);
    let found = scrub(&copy, EVERYTHING).await;
    assert_eq!(places(&found), [(0, 4, 24)]);
    assert_eq!(mend(&copy, &leader, found).await.unwrap(), [true]);
    assert_eq!(disk.bytes(&log_file(0)).unwrap(), whole);
    assert!(disk.bytes(&index_file(0)).unwrap().len() > 64, "the index was not made anew");
}

#[tokio::test]
async fn sectors_that_cannot_be_read_cost_their_batches_only_and_are_mended() {
    let [(_, leader), (disk, copy)] = two(&[3000; 12], 1 << 20).await;
    let whole = disk.bytes(&log_file(0)).unwrap();
    let runs = runs(&whole);
    disk.make_unreadable(&log_file(0), runs[3].end as u64 - 100..runs[4].start as u64 + 100);
    let found = scrub(&copy, EVERYTHING).await;
    // The second one's header is gone, too: the next place that is known is that of the next index entry.
    assert_eq!(places(&found), [(0, 6, 12)]);
    assert_eq!(mend(&copy, &leader, found).await.unwrap(), [true]);
    assert_eq!(disk.bytes(&log_file(0)).unwrap(), whole);
    assert!(scrub(&copy, EVERYTHING).await.is_empty());
}

#[tokio::test]
async fn what_no_copy_has_stays_damaged_and_the_rest_is_mended_and_served() {
    let [(there, leader), (disk, copy)] = two(&[600; 8], 1 << 20).await;
    let runs = runs(&disk.bytes(&log_file(0)).unwrap());
    for damaged in [1, 5] {
        flip(&disk, &log_file(0), (runs[damaged].end - 9) * 8);
    }
    flip(&there, &log_file(0), (runs[5].end - 200) * 8);
    let found = scrub(&copy, EVERYTHING).await;
    assert_eq!(mend(&copy, &leader, found).await.unwrap(), [true, false]);
    assert_eq!(places(&scrub(&copy, EVERYTHING).await), [(0, 10, 12)]);
    for offset in 0..16 {
        let read = copy.read(offset, 1, Isolation::Committed).await;
        match offset {
            10 | 11 => assert!(matches!(read, Err(ReadError::Corrupt(_))), "{offset}: {read:?}"),
            _ => assert_eq!(read.unwrap().base_offset, offset - offset % 2),
        }
    }
    // With nothing to mend from, nothing is touched.
    let before = disk.bytes(&log_file(0));
    let found = scrub(&copy, EVERYTHING).await;
    assert!(matches!(mend(&copy, &leader, found).await, Err(RepairError::OtherBatches(_))));
    assert_eq!(disk.bytes(&log_file(0)), before);
}

#[tokio::test]
async fn other_batches_than_were_there_are_refused() {
    let [(_, leader), (disk, copy)] = two(&[100; 4], 1 << 20).await;
    let run = runs(&disk.bytes(&log_file(0)).unwrap())[1].clone();
    flip(&disk, &log_file(0), (run.end - 9) * 8);
    let found = scrub(&copy, EVERYTHING).await;
    let right = leader.read(2, 1, Isolation::Committed).await.unwrap().bytes;
    let patched = |offset, epoch| {
        let mut bytes = right.to_vec();
        batch::patch(&mut bytes, offset, epoch);
        bytes
    };
    let mut longer = batch(&[&[1; 101], b"and"]).bytes().to_vec();
    batch::patch(&mut longer, 2, 4);
    let mut flipped = right.to_vec();
    flipped[80] ^= 1;
    let mut repair = copy.repair(found.clone()).await.unwrap();
    for wrong in [patched(0, 4), patched(4, 4), patched(2, 3), patched(2, 5), longer, flipped, vec![0; 9]] {
        let put = repair.put(0, wrong.into()).await;
        assert!(matches!(put, Err(RepairError::OtherBatches(_))), "{put:?}");
    }
    assert_eq!(repair.put(0, right).await, Ok(4));
    assert_eq!(repair.finish().await.unwrap(), [true]);
    assert!(scrub(&copy, EVERYTHING).await.is_empty());
}

#[tokio::test]
async fn a_power_cut_at_any_step_of_mending_leaves_the_damaged_file_or_the_mended_one() {
    let [(_, leader), (disk, copy)] = two(&[500; 12], 2048).await;
    let records = read_all(&leader).await.unwrap();
    copy.close().await;
    let base = copy.segments()[1];
    let whole = disk.bytes(&log_file(base)).unwrap();
    flip(&disk, &log_file(base), (runs(&whole)[1].end - 9) * 8);
    let rotten = disk.bytes(&log_file(base)).unwrap();
    let (mut cut_off, mut mended) = (0, 0);
    for step in 0.. {
        let here = disk.copy();
        let copy = open(&here, &config(2048)).await.unwrap();
        let damage = scrub(&copy, EVERYTHING).await;
        here.cut_power_after(step);
        let done = mend(&copy, &leader, damage).await;
        for _ in 0..4 {
            let after = here.restart();
            let copy = open(&after, &config(2048)).await.expect("it comes back");
            let bytes = after.bytes(&log_file(base)).unwrap();
            assert!(bytes == whole || bytes == rotten, "step {step}: neither the old file nor the new one");
            assert!(done.is_err() || bytes == whole, "step {step}: mended and gone");
            let left = after.list(&folder()).unwrap();
            assert!(!left.iter().any(|name| name.ends_with(".new")), "step {step}: {left:?}");
            let damage = scrub(&copy, EVERYTHING).await;
            assert_eq!(damage.is_empty(), bytes == whole);
            if !damage.is_empty() {
                assert_eq!(mend(&copy, &leader, damage).await.unwrap(), [true]);
            }
            // How far it is committed it hears from its leader again.
            copy.commit(leader.offsets().hw);
            assert!(read_all(&copy).await.unwrap() == records, "step {step}");
            (cut_off, mended) = (cut_off + u32::from(bytes != whole), mended + u32::from(bytes == whole));
        }
        if done.is_ok() {
            break;
        }
    }
    assert!(cut_off > 20 && mended >= 4, "{cut_off} {mended}: the cuts were elsewhere");
}

#[tokio::test]
async fn a_segment_that_goes_while_it_is_mended_is_no_error_and_stays_away() {
    let [(_, leader), (disk, copy)] = two(&[500; 12], 2048).await;
    flip(&disk, &log_file(0), 100 * 8);
    let damage = scrub(&copy, EVERYTHING).await;
    let mut repair = copy.repair(damage.clone()).await.unwrap();
    let at = damage[0].from;
    let brought = leader.read(at, 1, Isolation::Committed).await.unwrap().bytes;
    repair.put(0, brought).await.unwrap();
    copy.let_go(copy.segments()[1]);
    copy.maintain().await.unwrap();
    assert_eq!(repair.finish().await, Err(RepairError::Gone));
    assert_eq!(copy.repair(damage).await.err(), Some(RepairError::Gone));
    let left = disk.list(&folder()).unwrap();
    assert!(left.iter().all(|name| !name.contains(&format!("{:020}", 0))), "{left:?}");
    assert!(scrub(&copy, EVERYTHING).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_written_cut_back_and_removed_is_never_taken_for_damaged() {
    let disk = SimulatedDisk::new(3);
    let log = open(&disk, &config(4096)).await.unwrap();
    let busy = log.clone();
    let writer = tokio::spawn(async move {
        for number in 0..400_usize {
            let value = vec![number as u8; number * 37 % 900];
            let end = busy.append(vec![batch(&[&value])]).await.unwrap().next_offset;
            match number % 7 {
                3 => drop(busy.truncate(end - 2).await.unwrap()),
                5 => busy.commit(end),
                6 => busy.let_go(end - 20),
                _ => {}
            }
        }
    });
    let mut looks = 0;
    while !writer.is_finished() {
        for base in log.segments() {
            let mut at = base;
            // Gone by now is no damage.
            while let Ok(seen) = log.scrub(at, 700).await {
                assert_eq!(seen.damage, []);
                looks += 1;
                if seen.ended {
                    break;
                }
                at = seen.next_offset;
            }
        }
    }
    writer.await.unwrap();
    assert!(looks > 100, "{looks}");
}
