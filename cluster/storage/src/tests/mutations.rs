//! Files and batches changed at random, with structure kept: lengths that lie, runs cut out and put in twice, words at
//! the edge of their range; and with checksums made right again, so that what trusts a checksum is met, too. Whatever
//! comes of it, nothing panics, nothing hangs, and what is served is whole batches.
//!
//! `PROPTEST_CASES=1000000` makes it a campaign.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::sample::{batch, batch_bytes, reseal};
use super::world::{name, store};
use crate::Config;
use crate::batch::{Limits, split};
use crate::disk::simulated::SimulatedDisk;
use crate::log::{Isolation, Log, Origin};

const LIMITS: Limits = Limits { batch_bytes: 1 << 20, batches: 100 };

/// Offsets looked at in a log, however many it claims to hold.
const LOOKS: i64 = 40;

#[derive(Debug, Clone)]
enum Change {
    Byte(Index, u8),
    Word(Index, u32),
    Long(Index, i64),
    Remove(Index, usize),
    Repeat(Index, usize),
    End(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![
        Just(0),
        Just(1),
        Just(u32::MAX),
        Just(i32::MAX as u32),
        Just(i32::MIN as u32),
        0..5_000_u32,
        any::<u32>()
    ];
    let long = prop_oneof![Just(0), Just(-1), Just(i64::MAX), Just(i64::MIN), -9..9_i64, any::<i64>()];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<Index>(), word).prop_map(|(at, word)| Change::Word(at, word)),
        (any::<Index>(), long).prop_map(|(at, long)| Change::Long(at, long)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, bytes)| Change::Remove(at, bytes)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, bytes)| Change::Repeat(at, bytes)),
        any::<Index>().prop_map(Change::End),
    ]
}

fn apply(bytes: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        let len = bytes.len();
        if len == 0 {
            return;
        }
        let mut put = |at: &Index, new: &[u8]| {
            let at = at.index(len);
            let end = (at + new.len()).min(len);
            bytes[at..end].copy_from_slice(&new[..end - at]);
        };
        match change {
            Change::Byte(at, byte) => put(at, &[*byte]),
            Change::Word(at, word) => put(at, &word.to_be_bytes()),
            Change::Long(at, long) => put(at, &long.to_be_bytes()),
            Change::Remove(at, run) => drop(bytes.drain(at.index(len)..(at.index(len) + run).min(len))),
            Change::Repeat(at, run) => {
                let again = bytes[at.index(len)..(at.index(len) + run).min(len)].to_vec();
                bytes.splice(at.index(len)..at.index(len), again);
            }
            Change::End(at) => bytes.truncate(at.index(len)),
        }
    }
}

/// Makes the checksums of a log file right, as far as its lengths lead.
fn seal_log(bytes: &mut [u8]) {
    if bytes.len() < 36 {
        return;
    }
    let header = crc32c::crc32c(&bytes[..32]).to_be_bytes();
    bytes[32..36].copy_from_slice(&header);
    let mut at = 36;
    while let Some(length) = bytes.get(at + 8..at + 12) {
        let length = i32::from_be_bytes(length.try_into().unwrap());
        let total = usize::try_from(length).unwrap_or(0) + 12;
        match bytes.get_mut(at..at + total) {
            Some(batch) if total >= 57 => reseal(batch),
            _ => return,
        }
        at += total;
    }
}

/// The same for the entries of an index. Its mark is believed once its checksum is right, and nothing but somebody who
/// writes to the disk on purpose makes it so.
fn seal_index(bytes: &mut [u8]) {
    if bytes.len() < 64 {
        return;
    }
    for entry in bytes[64..].chunks_exact_mut(12) {
        let checksum = crc32c::crc32c(&entry[..8]).to_be_bytes();
        entry[8..].copy_from_slice(&checksum);
    }
}

fn file(base: i64, kind: &str) -> PathBuf {
    Path::new("/data").join(name().to_string()).join(format!("{base:020}.{kind}"))
}

fn open(disk: &SimulatedDisk) -> Option<Log> {
    let config = Config { tail_bytes: 0, segment_bytes: 12_000, ..Config::default() };
    Log::open(store(disk), Path::new("/data").join(name().to_string()), config).ok()
}

/// Two segments of a few batches, with index entries; returns where the second begins.
fn two_segments() -> (SimulatedDisk, i64) {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk).unwrap();
    for number in 0..6_u8 {
        let one = batch(&[&vec![number; 3_000], b"and"]);
        log.append(&[(&[one], Origin::Producer)], &mut |_, outcome| assert!(outcome.is_ok()));
    }
    let bases = log.view().segment_bases();
    assert_eq!(bases.len(), 2);
    drop(log);
    (disk, bases[1])
}

/// Does with a log all that can be done; nothing of it may panic, and what is served is whole.
fn use_it(disk: &SimulatedDisk) {
    let Some(mut log) = open(disk) else { return };
    let offsets = log.view().offsets();
    for offset in (0..LOOKS).chain([offsets.log_start, offsets.leo.saturating_sub(1), offsets.leo]) {
        if let Ok(slice) = log.view().read(offset, 1 << 20, Isolation::Uncommitted) {
            let batches = split(&slice.bytes, LIMITS).expect("what is served is whole batches");
            assert!(slice.bytes.is_empty() || slice.next_offset > offset);
            assert_eq!(
                batches.first().map_or(slice.base_offset, |one| one.header().base_offset),
                slice.base_offset
            );
        }
        if let Ok(seen) = log.view().scrub(offset, 4_000) {
            assert!(seen.scrubbed.ended || seen.scrubbed.next_offset > offset);
        }
    }
    log.maintain().ok();
    log.append(&[(&[batch(&[b"more"])], Origin::Producer)], &mut |_, _| {});
    log.truncate(offsets.leo.saturating_sub(1)).ok();
    drop(log);
    // What was made of it can be opened again, or was no log from the start.
    open(disk);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_segment_or_its_index_makes_the_log_panic_or_serve_what_is_no_batch(
        log in proptest::collection::vec(change(), 0..4),
        index in proptest::collection::vec(change(), 0..4),
        second: bool,
        sealed: bool,
    ) {
        let (disk, base) = two_segments();
        let base = if second { base } else { 0 };
        disk.damage(&file(base, "log"), |bytes| {
            apply(bytes, &log);
            if sealed { seal_log(bytes) }
        });
        disk.damage(&file(base, "index"), |bytes| {
            apply(bytes, &index);
            if sealed { seal_index(bytes) }
        });
        use_it(&disk);
    }

    #[test]
    fn no_change_of_a_record_set_makes_it_panic_or_pass_unseen(
        changes in proptest::collection::vec(change(), 1..4),
        sealed: bool,
    ) {
        let whole = [batch_bytes(&[b"one", b"two"]), batch_bytes(&[&[7; 300]])].concat();
        let mut bytes = whole.clone();
        apply(&mut bytes, &changes);
        if sealed {
            // As if it lay behind a log's header.
            let mut log = [vec![0; 36], bytes].concat();
            seal_log(&mut log);
            bytes = log.split_off(36);
        }
        if let Ok(batches) = split(&Bytes::from(bytes.clone()), LIMITS) {
            let joined: Vec<u8> = batches.iter().flat_map(|one| one.bytes().to_vec()).collect();
            prop_assert_eq!(&joined, &bytes);
            for one in &batches {
                let _ = one.check_records();
                let _ = crate::batch::read_records(one.payload(), one.header().last_offset_delta);
            }
        }
    }
}
