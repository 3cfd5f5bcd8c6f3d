//! Batches to test with.

use bytes::Bytes;

use crate::batch::Batch;

/// The bytes of an uncompressed batch with these values, as a client sends it.
pub(crate) fn batch_bytes(values: &[&[u8]]) -> Vec<u8> {
    let mut records = Vec::new();
    records.extend_from_slice(&(values.len() as u32).to_be_bytes());
    for (number, value) in values.iter().enumerate() {
        let mut record = vec![0, 0];
        put_varint(&mut record, number as i64);
        record.push(0);
        put_varint(&mut record, value.len() as i64);
        record.extend_from_slice(value);
        record.push(0);
        put_varint(&mut records, record.len() as i64);
        records.extend_from_slice(&record);
    }
    seal(0, values.len() as i32 - 1, &records)
}

/// A batch with this payload, checksum right.
pub(crate) fn seal(attributes: i16, last_offset_delta: i32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 57];
    bytes[8..12].copy_from_slice(&(45 + payload.len() as i32).to_be_bytes());
    bytes[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    bytes[16] = 2;
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    bytes[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
    for at in [27, 35, 43] {
        bytes[at..at + 8].copy_from_slice(&(-1i64).to_be_bytes());
    }
    bytes[51..57].fill(0xff);
    bytes.extend_from_slice(payload);
    reseal(&mut bytes);
    bytes
}

/// Puts the right checksum into changed bytes.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
}

/// One record per value.
pub(crate) fn batch(values: &[&[u8]]) -> Batch {
    Batch::parse(&Bytes::from(batch_bytes(values))).unwrap()
}

/// One batch of one record of this many bytes, all alike.
pub(crate) fn filled(byte: u8, bytes: usize) -> Batch {
    batch(&[&vec![byte; bytes]])
}

/// Offsets and values of all records in stored bytes. Panics if they are not whole, checked batches.
pub(crate) fn records(stored: &Bytes) -> Vec<(i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = stored.clone();
    while !rest.is_empty() {
        let batch = Batch::parse(&rest).unwrap();
        batch.check_records().unwrap();
        let mut payload = &batch.payload()[4..];
        for number in 0..batch.header().records() {
            take_varint(&mut payload);
            payload = &payload[1..];
            take_varint(&mut payload);
            take_varint(&mut payload);
            payload = &payload[1..];
            let length = take_varint(&mut payload) as usize;
            found.push((batch.header().base_offset + number, payload[..length].to_vec()));
            payload = &payload[length + 1..];
        }
        rest = rest.split_off(batch.bytes().len());
    }
    found
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn take_varint(bytes: &mut &[u8]) -> i64 {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return (value >> 1) as i64 ^ -((value & 1) as i64);
        }
        shift += 7;
    }
}
