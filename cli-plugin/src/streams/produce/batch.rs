//! Records packed into batches of the wire's format, without an allocation or a lock for each of them.
//!
//! The payload of a batch is a count (u32) and that many records, each: varint length, attributes (one byte, 0),
//! timestamp delta (varint), offset delta (varint), key (one byte 0, or 1 and varint length and bytes), value (varint
//! length and bytes), number of headers (varint, 0). Varints are zigzag, seven bits a byte, low bits first.

use bytes::Bytes;
use fluvio::Compression;
use fluvio::dataplane::record::{Batch, RawRecords};

/// What a record costs besides its key and value, at most: four varints, the two length prefixes and three bytes.
pub const RECORD_OVERHEAD: usize = 40;
const COUNT_BYTES: usize = 4;

/// A batch ready to be sent, as often as it takes.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Where its records belong.
    pub partition: u32,
    /// How many there are.
    pub records: u32,
    /// Bytes of their keys and values.
    pub payload: usize,
    /// The wire's form; cloning it copies no records.
    pub batch: Batch<RawRecords>,
}

impl Packed {
    /// Bytes on the wire, near enough for bounds.
    pub fn size(&self) -> usize {
        self.batch.records().0.len() + fluvio::dataplane::record::BATCH_FILE_HEADER_SIZE
    }
}

/// Collects the records of one partition.
#[derive(Debug)]
pub struct Packer {
    partition: u32,
    compression: Compression,
    limit: usize,
    bytes: Vec<u8>,
    records: u32,
    payload: usize,
    first_timestamp: i64,
    last_delta: i64,
}

impl Packer {
    /// An empty batch for a partition, full at about `limit` bytes.
    pub fn new(partition: u32, compression: Compression, limit: usize) -> Self {
        Self {
            partition,
            compression,
            limit,
            bytes: Vec::new(),
            records: 0,
            payload: 0,
            first_timestamp: 0,
            last_delta: 0,
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether a record of this size would make the batch too large; an empty batch takes any record.
    pub fn is_full_for(&self, record: usize) -> bool {
        self.records > 0 && self.bytes.len() + record + RECORD_OVERHEAD > self.limit
    }

    /// Adds a record made at `now` (milliseconds since 1970).
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8], now: i64) {
        if self.records == 0 {
            self.bytes.reserve(self.limit.min(value.len() + self.limit));
            self.bytes.extend_from_slice(&[0; COUNT_BYTES]);
            self.first_timestamp = now;
        }
        // A clock that was set back must not make the deltas shrink: readers take the batch's last one for its end.
        self.last_delta = (now - self.first_timestamp).max(self.last_delta);
        let offset_delta = i64::from(self.records);
        let key_size = key.map_or(1, |key| 1 + varint_size(as_i64(key.len())) + key.len());
        let size = 1
            + varint_size(self.last_delta)
            + varint_size(offset_delta)
            + key_size
            + varint_size(as_i64(value.len()))
            + value.len()
            + 1;
        put_varint(&mut self.bytes, as_i64(size));
        self.bytes.push(0);
        put_varint(&mut self.bytes, self.last_delta);
        put_varint(&mut self.bytes, offset_delta);
        match key {
            Some(key) => {
                self.bytes.push(1);
                put_varint(&mut self.bytes, as_i64(key.len()));
                self.bytes.extend_from_slice(key);
            }
            None => self.bytes.push(0),
        }
        put_varint(&mut self.bytes, as_i64(value.len()));
        self.bytes.extend_from_slice(value);
        self.bytes.push(0);
        self.records += 1;
        self.payload += key.map_or(0, <[u8]>::len) + value.len();
    }

    /// Takes what was collected, compressed, and starts over.
    pub fn take(&mut self) -> Result<Packed, fluvio_compression::CompressionError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes[..COUNT_BYTES].copy_from_slice(&self.records.to_be_bytes());
        let bytes = match self.compression {
            Compression::None => Bytes::from(bytes),
            codec => codec.compress(&bytes)?,
        };
        let mut batch = Batch::<RawRecords>::default();
        batch.header.set_compression(self.compression);
        batch.header.last_offset_delta = i32::try_from(self.records).unwrap_or(i32::MAX) - 1;
        batch.header.first_timestamp = self.first_timestamp;
        batch.header.max_time_stamp = self.first_timestamp + self.last_delta;
        batch.batch_len = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        *batch.mut_records() = RawRecords(bytes);
        let packed =
            Packed { partition: self.partition, records: self.records, payload: self.payload, batch };
        (self.records, self.payload, self.first_timestamp, self.last_delta) = (0, 0, 0, 0);
        Ok(packed)
    }
}

fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn varint_size(value: i64) -> usize {
    let bits = 64 - zigzag(value).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use fluvio::dataplane::record::{Record, RecordData, RecordKey};
    use fluvio::dataplane::{Decoder, Encoder};

    use super::*;

    /// What the published crate packs out of the same records.
    fn by_the_crate(records: &[(Option<&[u8]>, &[u8])]) -> Vec<u8> {
        let records: Vec<Record> = records
            .iter()
            .enumerate()
            .map(|(index, (key, value))| {
                let key = key.map_or(RecordKey::NULL, |key| RecordKey::from(key.to_vec()));
                let mut record = Record::new_key_value(key, RecordData::from(value.to_vec()));
                record.preamble.set_offset_delta(index as i64);
                record
            })
            .collect();
        let mut bytes = Vec::new();
        records.encode(&mut bytes, 0).unwrap();
        bytes
    }

    fn packed(records: &[(Option<&[u8]>, &[u8])], codec: Compression) -> Packed {
        let mut packer = Packer::new(3, codec, 1_000_000);
        for (key, value) in records {
            packer.push(*key, value, 1_000);
        }
        packer.take().unwrap()
    }

    #[test]
    fn every_byte_is_as_the_published_crate_packs_it() {
        let long = vec![b'x'; 70_000];
        let mut many: Vec<(Option<&[u8]>, &[u8])> = vec![(None, b""), (Some(b""), b"v"), (Some(b"k"), &long)];
        many.extend((0..9_000).map(|_| (None, b"hello".as_slice())));
        for count in [1, 2, 3, 66, 130, many.len()] {
            let ours = packed(&many[..count], Compression::None);
            assert_eq!(ours.batch.records().0, by_the_crate(&many[..count]), "{count} records");
            assert_eq!((ours.records as usize, ours.batch.last_offset_delta()), (count, count as i32 - 1));
        }
    }

    #[test]
    fn a_whole_batch_survives_the_wire_in_every_codec() {
        let records: [(Option<&[u8]>, &[u8]); 2] = [(Some(b"k"), b"one"), (None, b"two")];
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let mut wire = Vec::new();
            packed(&records, codec).batch.encode(&mut wire, 0).unwrap();
            let read = Batch::<RawRecords>::decode_from(&mut wire.as_slice(), 0).unwrap();
            let values: Vec<_> =
                read.memory_records().unwrap().into_iter().map(|record| record.value.into_vec()).collect();
            assert_eq!(values, [b"one", b"two"], "{codec:?}");
            assert_eq!(read.get_compression().unwrap(), codec);
        }
    }

    #[test]
    fn timestamps_never_run_backwards_within_a_batch() {
        let mut packer = Packer::new(0, Compression::None, 1_000);
        for now in [5_000, 5_010, 4_000, 5_020] {
            packer.push(None, b"v", now);
        }
        let packed = packer.take().unwrap();
        let deltas: Vec<_> =
            packed.batch.memory_records().unwrap().iter().map(Record::timestamp_delta).collect();
        assert_eq!(deltas, [0, 10, 10, 20]);
        assert_eq!((packed.batch.header.first_timestamp, packed.batch.header.max_time_stamp), (5_000, 5_020));
    }

    #[test]
    fn a_packer_is_full_before_its_limit_and_never_for_its_first_record() {
        let mut packer = Packer::new(0, Compression::None, 200);
        assert!(!packer.is_full_for(10_000));
        packer.push(None, &[7; 120], 0);
        assert!(packer.is_full_for(60) && !packer.is_full_for(1));
        let size = packer.take().unwrap().size();
        assert!(size < 200 + 60, "{size}");
        assert!(packer.is_empty() && !packer.is_full_for(10_000));
    }

    #[test]
    fn varints_have_the_size_that_is_said() {
        for value in [0, -1, 1, 63, 64, -64, -65, 8_191, 8_192, i64::from(i32::MAX), i64::from(i32::MIN)] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_size(value), "{value}");
        }
    }
}
