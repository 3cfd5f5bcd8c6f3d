//! Batches as clients, and those who mean harm, send them.

use bytes::Bytes;
use proptest::prelude::*;

use super::sample::{batch_bytes, put_varint, records, reseal, seal};
use crate::batch::{Batch, BatchError, Codec, Limits, check_records, patch, split};

const LIMITS: Limits = Limits { batch_bytes: 1 << 20, batches: 10 };

fn parse(bytes: Vec<u8>) -> Result<Batch, BatchError> {
    Batch::parse(&Bytes::from(bytes))
}

/// A good batch with some bytes replaced, its checksum right again.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch_bytes(&[b"hello"]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if batch.len() > 21 {
        reseal(&mut batch);
    }
    batch
}

#[test]
fn the_published_example_parses() {
    let batch = parse(batch_bytes(&[b"hello"])).unwrap();
    assert_eq!(batch.bytes()[8..12], [0, 0, 0, 0x3d]);
    assert_eq!(*batch.payload(), *b"\0\0\0\x01\x16\0\0\0\0\x0ahello\0");
    assert_eq!(batch.header().codec(), Codec::None);
    assert_eq!((batch.header().records(), batch.header().leader_epoch), (1, -1));
    batch.check_records().unwrap();
}

#[test]
fn a_header_that_lies_is_refused() {
    let cases: [(&str, Vec<u8>, BatchError); 9] = [
        ("a negative length", with(8, &(-1i32).to_be_bytes()), BatchError::Length(-1)),
        ("the least length", with(8, &i32::MIN.to_be_bytes()), BatchError::Length(i32::MIN)),
        ("a length within the header", with(8, &44i32.to_be_bytes()), BatchError::Length(44)),
        (
            "the largest length",
            with(8, &i32::MAX.to_be_bytes()),
            BatchError::Short { needed: i32::MAX as usize + 12, available: 73 },
        ),
        ("one byte too long", with(8, &62i32.to_be_bytes()), BatchError::Short { needed: 74, available: 73 }),
        ("another format", with(16, &[1]), BatchError::Magic(1)),
        ("a codec that is none", with(21, &5i16.to_be_bytes()), BatchError::Codec(5)),
        ("no records", with(23, &(-1i32).to_be_bytes()), BatchError::LastOffsetDelta(-1)),
        ("nothing at all", Vec::new(), BatchError::Short { needed: 57, available: 0 }),
    ];
    for (case, bytes, error) in cases {
        assert_eq!(parse(bytes), Err(error), "{case}");
    }
}

#[test]
fn a_schema_id_must_fit_and_is_not_taken_for_records() {
    let mut payload = 77u32.to_be_bytes().to_vec();
    payload.extend_from_slice(b"\0\0\0\x01\x16\0\0\0\0\x0ahello\0");
    let batch = parse(seal(0x10, 0, &payload)).unwrap();
    assert_eq!(batch.header().schema_id, Some(77));
    batch.check_records().unwrap();
    assert!(matches!(parse(seal(0x10, 0, b"abc")), Err(BatchError::Length(48))));
}

#[test]
fn every_flipped_bit_but_those_the_log_sets_is_refused() {
    let good = batch_bytes(&[b"hello", b"world"]);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let set_by_the_log = (0..8).contains(&(bit / 8)) || (12..16).contains(&(bit / 8));
        assert_eq!(parse(bytes).is_ok(), set_by_the_log, "bit {bit}");
    }
}

#[test]
fn patching_leaves_the_checksum_right() {
    let mut bytes = batch_bytes(&[b"hello"]);
    patch(&mut bytes, 1 << 40, 9);
    let batch = parse(bytes).unwrap();
    assert_eq!((batch.header().base_offset, batch.header().leader_epoch), (1 << 40, 9));
    patch(&mut [0; 3], 1, 1);
}

#[test]
fn a_record_set_is_split_whole_or_not_at_all() {
    let (one, two) = (batch_bytes(&[b"one"]), batch_bytes(&[b"two", b"three"]));
    let set = [one.clone(), two.clone()].concat();
    let parts = split(&Bytes::from(set.clone()), LIMITS).unwrap();
    assert_eq!(parts.iter().map(|part| part.bytes().to_vec()).collect::<Vec<_>>(), [one.clone(), two]);
    for cut in (1..set.len()).filter(|cut| *cut != one.len()) {
        assert!(split(&Bytes::from(set[..cut].to_vec()), LIMITS).is_err(), "cut at {cut}");
    }
    let junk = Bytes::from([set.clone(), vec![0; 3]].concat());
    assert!(matches!(split(&junk, LIMITS), Err(BatchError::Short { .. })));
    let bounds = Limits { batch_bytes: 75, batches: 10 };
    assert!(matches!(split(&Bytes::from(set.clone()), bounds), Err(BatchError::TooLarge { .. })));
    let bounds = Limits { batches: 1, ..LIMITS };
    assert_eq!(split(&Bytes::from(set), bounds), Err(BatchError::TooMany(1)));
    assert_eq!(split(&Bytes::new(), LIMITS), Ok(Vec::new()));
}

/// A payload of one record with these bytes behind its length.
fn one_record(record: &[u8]) -> Vec<u8> {
    let mut payload = 1u32.to_be_bytes().to_vec();
    put_varint(&mut payload, record.len() as i64);
    payload.extend_from_slice(record);
    payload
}

fn varint(value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, value);
    bytes
}

#[test]
fn records_with_and_without_keys_pass() {
    check_records(&one_record(&[0, 0, 0, 0, 10, b'h', b'e', b'l', b'l', b'o', 0]), 0).unwrap();
    check_records(&one_record(&[0, 0, 0, 1, 2, b'k', 2, b'v', 0]), 0).unwrap();
    check_records(&one_record(&[0, 0, 0, 0, 0, 0]), 0).unwrap();
    let time = [vec![0], varint(i64::from(i32::MAX)), vec![0, 0, 0, 0]].concat();
    check_records(&one_record(&time), 0).unwrap();
}

#[test]
fn records_that_lie_are_refused() {
    let huge = varint(i64::from(i32::MAX));
    let endless = vec![0xff; 12];
    let wide = varint(1 << 31);
    let record = |parts: &[&[u8]]| one_record(&parts.concat());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("half a count", vec![0, 0]),
        ("a count without records", vec![0, 0, 0, 1]),
        ("two where one is", [&2u32.to_be_bytes()[..], &one_record(&[0; 6])[4..]].concat()),
        ("a count of four thousand million", vec![0xff; 4]),
        ("a record longer than the batch", [&1u32.to_be_bytes()[..], &huge].concat()),
        ("a negative record", [&1u32.to_be_bytes()[..], &varint(-1), &[0; 8]].concat()),
        ("a length without an end", [&1u32.to_be_bytes()[..], &endless].concat()),
        ("a key longer than its record", record(&[&[0, 0, 0, 1], &huge, &[0; 4]])),
        ("a value longer than its record", record(&[&[0, 0, 0, 0], &huge, &[0; 4]])),
        ("a negative value", record(&[&[0, 0, 0, 0], &varint(-5), &[0; 4]])),
        ("a key flag of two", record(&[&[0, 0, 0, 2, 0, 0, 0]])),
        ("a time out of range", record(&[&[0], &wide, &[0, 0, 0, 0]])),
        ("headers", record(&[&[0, 0, 0, 0, 0, 2, 2, b'k', 2, b'v']])),
        ("a record longer than its content", record(&[&[0, 0, 0, 0, 0, 0, 0]])),
        ("a record that ends early", record(&[&[0, 0, 0]])),
        ("junk behind the last", [one_record(&[0; 6]), vec![0]].concat()),
    ];
    for (case, payload) in cases {
        assert!(matches!(check_records(&payload, 0), Err(BatchError::Records(_))), "{case}");
        // A batch around it has a right checksum, and is found out all the same.
        let batch = parse(seal(0, 0, &payload)).unwrap();
        assert!(batch.check_records().is_err(), "{case}");
    }
    assert!(check_records(&one_record(&[0; 6]), 1).is_err());
    assert!(check_records(&[0xff; 4], i32::MAX).is_err());
}

#[test]
fn compressed_records_are_not_looked_into() {
    for (attributes, codec) in [(1, Codec::Gzip), (2, Codec::Snappy), (3, Codec::Lz4), (4, Codec::Zstd)] {
        let batch = parse(seal(attributes, 9, b"whatever")).unwrap();
        assert_eq!(batch.header().codec(), codec);
        batch.check_records().unwrap();
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = split(&Bytes::from(bytes.clone()), LIMITS);
        let _ = check_records(&bytes, 0);
        // With a right header and checksum around them they come further.
        let batch = parse(seal(0, 3, &bytes)).unwrap();
        let _ = batch.check_records();
    }

    #[test]
    fn whatever_a_client_sends_comes_back(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let stored = Bytes::from(batch_bytes(&values));
        let found: Vec<_> = records(&stored).into_iter().map(|record| record.1).collect();
        prop_assert_eq!(found, values);
    }
}
