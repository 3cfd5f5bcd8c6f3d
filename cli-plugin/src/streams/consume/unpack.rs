//! Records out of a batch without copying them; the bytes come from a network and are believed in nothing.

use std::borrow::Cow;

use fluvio::Compression;
use fluvio::dataplane::record::{Batch, RawRecords};

use super::format::Shown;

/// A batch that is not what its header says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Its records end in the middle of one.
    #[error("a record of the batch at offset {0} is cut off")]
    CutOff(i64),
    /// Its codec is unknown or does not fit its bytes.
    #[error("the batch at offset {0} cannot be uncompressed")]
    Codec(i64),
}

/// The offset after a batch.
pub fn end_of(batch: &Batch<RawRecords>) -> i64 {
    batch.base_offset.saturating_add(i64::from(batch.last_offset_delta())).saturating_add(1)
}

/// Hands over every record of a batch from the offset `from` on, until `each` answers that it has enough.
pub fn each_record<E: From<Damaged>>(
    partition: u32,
    batch: &Batch<RawRecords>,
    from: i64,
    mut each: impl FnMut(Shown<'_>) -> Result<bool, E>,
) -> Result<(), E> {
    let base = batch.base_offset;
    let payload = uncompressed(batch)?;
    // A stretch of records that a filter took out has no payload at all.
    if payload.is_empty() {
        return Ok(());
    }
    let mut cursor = Cursor { rest: &payload };
    let cut_off = || Damaged::CutOff(base);
    let count = cursor.number().ok_or_else(cut_off)?;
    for index in 0..i64::from(count) {
        let record = cursor.record().ok_or_else(cut_off)?;
        let offset = base.saturating_add(index);
        if offset < from {
            continue;
        }
        let first = batch.get_base_timestamp();
        let timestamp = if first > 0 { first.saturating_add(record.timestamp_delta) } else { -1 };
        if !each(Shown { partition, offset, timestamp, key: record.key, value: record.value })? {
            break;
        }
    }
    Ok(())
}

fn uncompressed(batch: &Batch<RawRecords>) -> Result<Cow<'_, [u8]>, Damaged> {
    let bytes = &batch.records().0;
    let damaged = |_| Damaged::Codec(batch.base_offset);
    match batch.get_compression().map_err(damaged)? {
        Compression::None => Ok(Cow::Borrowed(bytes)),
        _ if bytes.is_empty() => Ok(Cow::Borrowed(&[])),
        codec => Ok(Cow::Owned(codec.uncompress(bytes).map_err(damaged)?.unwrap_or_default())),
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

struct Unpacked<'a> {
    timestamp_delta: i64,
    key: Option<&'a [u8]>,
    value: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn varint(&mut self) -> Option<i64> {
        let mut zigzag = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        None
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    fn record(&mut self) -> Option<Unpacked<'a>> {
        let mut record = Cursor { rest: self.counted()? };
        let _attributes = record.byte()?;
        let timestamp_delta = record.varint()?;
        let _offset_delta = record.varint()?;
        let key = match record.byte()? {
            0 => None,
            _ => Some(record.counted()?),
        };
        let value = record.counted()?;
        Some(Unpacked { timestamp_delta, key, value })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fluvio::dataplane::record::{Record, RecordData};

    use super::*;

    type Seen = Vec<(i64, i64, Option<Vec<u8>>, Vec<u8>)>;

    /// A batch as the published crate makes it.
    fn batch(values: &[(Option<&str>, &[u8])], codec: Compression) -> Batch<RawRecords> {
        let records: Vec<Record> = values
            .iter()
            .map(|(key, value)| match key {
                Some(key) => Record::new_key_value(*key, RecordData::from(value.to_vec())),
                None => Record::new(value.to_vec()),
            })
            .collect();
        let mut batch = Batch::from(records);
        batch.base_offset = 100;
        batch.header.first_timestamp = 5_000;
        batch.header.set_compression(codec);
        batch.try_into().unwrap()
    }

    fn seen(batch: &Batch<RawRecords>, from: i64, most: usize) -> Result<Seen, Damaged> {
        let mut seen = Seen::new();
        each_record(0, batch, from, |record| {
            seen.push((
                record.offset,
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.to_vec(),
            ));
            Ok::<_, Damaged>(seen.len() < most)
        })?;
        Ok(seen)
    }

    #[test]
    fn records_come_out_as_the_published_crate_packed_them_in_every_codec() {
        let long = vec![7; 20_000];
        let values: [(Option<&str>, &[u8]); 4] =
            [(None, b"one"), (Some("k"), b""), (Some(""), &long), (None, b"four")];
        for codec in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let batch = batch(&values, codec);
            let expected: Seen = values
                .iter()
                .zip(100..)
                .map(|((key, value), offset)| {
                    (offset, 5_000, key.map(|key| key.as_bytes().to_vec()), value.to_vec())
                })
                .collect();
            assert_eq!(seen(&batch, 0, 99).unwrap(), expected, "{codec:?}");
            assert_eq!(seen(&batch, 102, 99).unwrap(), expected[2..]);
            assert_eq!(seen(&batch, 0, 1).unwrap(), expected[..1]);
            assert_eq!(end_of(&batch), 104);
        }
    }

    #[test]
    fn every_way_of_cutting_a_batch_off_is_noticed() {
        let whole = batch(&[(Some("key"), b"value"), (None, b"other")], Compression::None);
        let bytes = whole.records().0.clone();
        for length in 1..bytes.len() {
            let mut cut = whole.clone();
            *cut.mut_records() = RawRecords(bytes.slice(..length));
            assert_eq!(seen(&cut, 0, 99), Err(Damaged::CutOff(100)), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn lengths_that_lie_and_bytes_that_are_no_codec_are_noticed() {
        let mut lies = batch(&[(None, b"v")], Compression::None);
        for bytes in [
            b"\xff\xff\xff\xff".as_slice(),
            b"\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\0\0\0\x01\x01",
            b"\0\0\0\x01\x02\0",
        ] {
            *lies.mut_records() = RawRecords(Bytes::from_static(bytes));
            assert_eq!(seen(&lies, 0, 99), Err(Damaged::CutOff(100)), "{bytes:?}");
        }
        lies.header.set_compression(Compression::Zstd);
        assert_eq!(seen(&lies, 0, 99), Err(Damaged::Codec(100)));
    }

    #[test]
    fn a_stretch_without_records_still_has_its_end() {
        let mut gap = batch(&[], Compression::None);
        *gap.mut_records() = RawRecords(Bytes::new());
        gap.set_offset_delta(9);
        assert_eq!((seen(&gap, 0, 99).unwrap(), end_of(&gap)), (vec![], 110));
    }
}
