//! Damaged files: no wrong byte is ever served, and what is missing is noticed.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::sample::batch_bytes;
use super::world::{name, store};
use crate::batch::{self, Batch};
use crate::disk::simulated::{Random, SimulatedDisk};
use crate::log::{Isolation, Log, Origin};
use crate::{Config, OpenError, ReadError};

const EPOCH: i32 = 7;

fn folder() -> PathBuf {
    Path::new("/data").join(name().to_string())
}

fn config(segment_bytes: u64) -> Config {
    Config { tail_bytes: 0, leader_epoch: EPOCH, segment_bytes, ..Config::default() }
}

fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Result<Log, OpenError> {
    Log::open(store(disk), folder(), config(segment_bytes))
}

/// A log of three batches with values of these sizes, two records each, and the batches as stored.
fn three(sizes: [usize; 3], segment_bytes: u64) -> (SimulatedDisk, Vec<Vec<u8>>) {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk, segment_bytes).unwrap();
    let mut stored = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let mut bytes = batch_bytes(&[&vec![number as u8; size], b"and"]);
        let batch = Batch::parse(&Bytes::from(bytes.clone())).unwrap();
        log.append(&[(&[batch], Origin::Producer)], &mut |_, outcome| assert!(outcome.is_ok()));
        batch::patch(&mut bytes, number as i64 * 2, EPOCH);
        stored.push(bytes);
    }
    drop(log);
    (disk, stored)
}

/// What came of reading everything there is.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All three batches, as they were.
    Whole,
    /// Opening or reading said that something is wrong.
    Noticed,
    /// The log ends early, with this many batches.
    Shorter(usize),
}

/// Opens and reads on from every batch. Panics if a byte is served that was not written.
fn read(disk: &SimulatedDisk, segment_bytes: u64, stored: &[Vec<u8>]) -> Outcome {
    let log = match open(disk, segment_bytes) {
        Ok(log) => log,
        Err(OpenError::Corrupt(_) | OpenError::Incompatible { .. }) => return Outcome::Noticed,
        Err(OpenError::Io { path, source }) => panic!("{}: {source}", path.display()),
    };
    let (mut noticed, mut whole) = (false, 0);
    for (number, batch) in stored.iter().enumerate() {
        match log.view().read(number as i64 * 2, 1, Isolation::Committed) {
            Ok(slice) if slice.bytes.is_empty() => {}
            Ok(slice) => {
                assert_eq!(slice.bytes, batch, "a wrong byte was served");
                assert_eq!(slice.base_offset, number as i64 * 2);
                whole += 1;
            }
            Err(ReadError::Corrupt(_)) => noticed = true,
            Err(ReadError::OutOfRange { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    match (noticed, whole) {
        (true, _) => Outcome::Noticed,
        (false, whole) if whole == stored.len() => Outcome::Whole,
        (false, whole) => Outcome::Shorter(whole),
    }
}

fn log_file(base: i64) -> PathBuf {
    folder().join(format!("{base:020}.log"))
}

fn index_file(base: i64) -> PathBuf {
    folder().join(format!("{base:020}.index"))
}

fn flip(bit: usize) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| bytes[bit / 8] ^= 1 << (bit % 8)
}

#[test]
fn every_flipped_bit_is_noticed_and_the_rest_is_served() {
    let (disk, stored) = three([10, 80, 30], 1 << 20);
    let bits = disk.bytes(&log_file(0)).unwrap().len() * 8;
    for bit in 0..bits {
        let damaged = disk.copy();
        damaged.damage(&log_file(0), flip(bit));
        assert_eq!(read(&damaged, 1 << 20, &stored), Outcome::Noticed, "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_costs_no_other_batch() {
    let (disk, stored) = three([10, 80, 30], 1 << 20);
    // In the second batch's value: its header leads on to the third.
    let bit = (36 + stored[0].len() + 100) * 8;
    disk.damage(&log_file(0), flip(bit));
    let log = open(&disk, 1 << 20).unwrap();
    let read = |from| log.view().read(from, 1 << 20, Isolation::Committed);
    assert_eq!(read(0).unwrap().bytes, stored[0]);
    assert!(matches!(read(2), Err(ReadError::Corrupt(_))));
    assert_eq!(read(4).unwrap().bytes, stored[2]);
}

#[test]
fn without_an_index_a_flipped_bit_is_a_torn_end_or_noticed() {
    let (disk, stored) = three([10, 80, 30], 1 << 20);
    let bits = disk.bytes(&log_file(0)).unwrap().len() * 8;
    for bit in 0..bits {
        let damaged = disk.copy();
        damaged.damage(&index_file(0), Vec::clear);
        damaged.damage(&log_file(0), flip(bit));
        let outcome = read(&damaged, 1 << 20, &stored);
        assert!(matches!(outcome, Outcome::Noticed | Outcome::Shorter(_)), "bit {bit}: {outcome:?}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let (disk, stored) = three([10, 80, 30], 1 << 20);
    let len = disk.bytes(&log_file(0)).unwrap().len();
    for cut in 0..len {
        let damaged = disk.copy();
        damaged.damage(&log_file(0), |bytes| bytes.truncate(cut));
        assert_eq!(read(&damaged, 1 << 20, &stored), Outcome::Noticed, "cut at {cut}");
    }
}

#[test]
fn without_an_index_a_truncation_leaves_the_whole_batches_before_it() {
    let (disk, stored) = three([10, 80, 30], 1 << 20);
    let len = disk.bytes(&log_file(0)).unwrap().len();
    let ends: Vec<usize> =
        stored.iter().scan(36, |end, batch| Some(std::mem::replace(end, *end + batch.len()))).collect();
    for cut in 36..len {
        let damaged = disk.copy();
        damaged.damage(&index_file(0), Vec::clear);
        damaged.damage(&log_file(0), |bytes| bytes.truncate(cut));
        let whole = ends.iter().skip(1).filter(|end| **end <= cut).count();
        assert_eq!(read(&damaged, 1 << 20, &stored), Outcome::Shorter(whole), "cut at {cut}");
    }
}

#[test]
fn the_index_is_advice_whatever_becomes_of_it() {
    let (disk, stored) = three([5000, 6000, 30], 1 << 20);
    let index = disk.bytes(&index_file(0)).unwrap();
    assert!(index.len() > 64, "no entry to damage");
    for bit in 0..index.len() * 8 {
        let damaged = disk.copy();
        damaged.damage(&index_file(0), flip(bit));
        assert_eq!(read(&damaged, 1 << 20, &stored), Outcome::Whole, "bit {bit}");
    }
    for cut in 0..index.len() {
        let damaged = disk.copy();
        damaged.damage(&index_file(0), |bytes| bytes.truncate(cut));
        assert_eq!(read(&damaged, 1 << 20, &stored), Outcome::Whole, "cut at {cut}");
    }
}

#[test]
fn an_index_that_lies_under_a_right_checksum_misleads_nobody() {
    let (disk, stored) = three([5000, 6000, 30], 1 << 20);
    let entries = disk.bytes(&index_file(0)).unwrap().len().saturating_sub(64) / 12;
    assert!(entries > 0);
    for entry in 0..entries {
        for (field, add) in [(0, 1u32), (0, u32::MAX), (0, 2), (4, 1), (4, u32::MAX), (4, 40), (4, 9000)] {
            let damaged = disk.copy();
            damaged.damage(&index_file(0), |bytes| {
                let entry = &mut bytes[64 + entry * 12..][..12];
                let word = u32::from_be_bytes(entry[field..field + 4].try_into().unwrap());
                entry[field..field + 4].copy_from_slice(&word.wrapping_add(add).to_be_bytes());
                let checksum = crc32c::crc32c(&entry[..8]);
                entry[8..].copy_from_slice(&checksum.to_be_bytes());
            });
            assert_eq!(read(&damaged, 1 << 20, &stored), Outcome::Whole, "entry {entry}, {field} + {add}");
        }
    }
}

#[test]
fn what_recovery_cut_off_does_not_come_back() {
    let (disk, _) = three([30, 30, 30], 1 << 20);
    // As after a power cut that tore the first batch and kept the others.
    disk.damage(&index_file(0), Vec::clear);
    disk.damage(&log_file(0), flip(60 * 8));
    let mut log = open(&disk, 1 << 20).unwrap();
    assert_eq!(log.view().offsets().leo, 0);
    // As long as the first one was, so that the others would fit on again.
    let batch = Batch::parse(&Bytes::from(batch_bytes(&[&[9; 30], b"and"]))).unwrap();
    log.append(&[(&[batch], Origin::Producer)], &mut |_, outcome| assert!(outcome.is_ok()));
    drop(log);
    disk.damage(&index_file(0), Vec::clear);
    assert_eq!(open(&disk, 1 << 20).unwrap().view().offsets().leo, 2);
}

#[test]
fn damage_in_a_closed_segment_is_noticed_with_and_without_an_index() {
    let (disk, stored) = three([600, 600, 600], 1024);
    assert!(disk.bytes(&log_file(4)).is_some(), "one batch per segment was meant");
    let bits = disk.bytes(&log_file(2)).unwrap().len() * 8;
    for bit in 0..bits {
        for with_index in [true, false] {
            let damaged = disk.copy();
            damaged.damage(&log_file(2), flip(bit));
            if !with_index {
                damaged.damage(&index_file(2), Vec::clear);
            }
            assert_eq!(read(&damaged, 1024, &stored), Outcome::Noticed, "bit {bit}, index {with_index}");
        }
    }
}

#[test]
fn a_missing_segment_is_a_hole_and_refused() {
    use crate::disk::Disk;
    let (disk, stored) = three([600, 600, 600], 1024);
    disk.remove(&log_file(2)).unwrap();
    assert!(matches!(open(&disk, 1024), Err(OpenError::Corrupt(_))));
    assert_eq!(read(&disk, 1024, &stored), Outcome::Noticed);
    // A folder that has lost everything is not a new partition either.
    disk.remove(&log_file(0)).unwrap();
    disk.remove(&log_file(4)).unwrap();
    assert!(matches!(open(&disk, 1024), Err(OpenError::Corrupt(_))));
}

#[test]
fn random_bytes_in_a_file_never_get_served() {
    let (disk, stored) = three([700, 5000, 300], 1 << 20);
    let len = disk.bytes(&log_file(0)).unwrap().len();
    let mut random = Random(7);
    for _ in 0..500 {
        let damaged = disk.copy();
        damaged.damage(&log_file(0), |bytes| {
            for _ in 0..=random.below(20) {
                bytes[random.below(len as u64) as usize] = random.next() as u8;
            }
        });
        // Bytes that happen to stay the same are no damage; read() itself checks what is served.
        read(&damaged, 1 << 20, &stored);
    }
}
