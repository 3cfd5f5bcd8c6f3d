//! One response of a consumer's stream: its head is read, its batches are walked from head to head.
//!
//! Head: topic (length 2 bytes, text), stream 4, partition 4, error code 2, high-water mark 8, next filter offset 8,
//! first offset 8, aborted transactions 1 (none), length of the batches 4. Batch: first offset 8, length of what
//! follows 4, leader's epoch 4, magic 1, CRC 4, attributes 2, last record's number 4, and the rest.

use std::io::{BufRead, ErrorKind, Read};

use anyhow::{bail, ensure};

/// Bytes of a batch's head that its length counts: epoch to the last record's number.
const COUNTED_HEAD: usize = 15;

/// What a response carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    pub stream_id: u32,
    /// The offset that the next response must begin with.
    pub next: i64,
    /// Bytes of its batches.
    pub bytes: u64,
}

/// Reads a response of `length` bytes (its correlation id is read already) whose first batch holds the record
/// `expected`, and whose other batches follow each other without a gap.
pub fn read(from: &mut impl BufRead, length: u64, expected: i64) -> anyhow::Result<Slice> {
    let mut rest = from.take(length);
    let name = u16::from_be_bytes(take(&mut rest)?);
    skip(&mut rest, u64::from(name))?;
    let stream_id = u32::from_be_bytes(take(&mut rest)?);
    let _partition: [u8; 4] = take(&mut rest)?;
    let code = i16::from_be_bytes(take(&mut rest)?);
    ensure!(code == 0, "the stream ended with error {code}");
    let _offsets: [u8; 24] = take(&mut rest)?;
    let [aborted] = take(&mut rest)?;
    ensure!(aborted == 0, "aborted transactions, which nobody began");
    let bytes = u64::from(u32::from_be_bytes(take(&mut rest)?));
    ensure!(bytes == rest.limit(), "{bytes} bytes of batches in the {} that are left", rest.limit());
    let mut next = None;
    while rest.limit() > 0 {
        let (first, last) = batch(&mut rest)?;
        let in_place = next.map_or(first <= expected && expected <= last, |next| next == first);
        ensure!(in_place, "a batch of {first} to {last} came where {} was due", next.unwrap_or(expected));
        next = Some(last + 1);
    }
    let Some(next) = next else { bail!("a response without records") };
    Ok(Slice { stream_id, next, bytes })
}

/// Walks over one batch: the offsets of its first and last record.
fn batch(rest: &mut impl BufRead) -> anyhow::Result<(i64, i64)> {
    let first = i64::from_be_bytes(take(rest)?);
    let length = usize::try_from(i32::from_be_bytes(take(rest)?)).unwrap_or(0);
    ensure!(length >= COUNTED_HEAD, "a batch of {length} bytes");
    let head: [u8; COUNTED_HEAD] = take(rest)?;
    let [.., a, b, c, d] = head;
    let last_number = i32::from_be_bytes([a, b, c, d]);
    ensure!(last_number >= 0, "a batch of {last_number} and one records");
    skip(rest, (length - COUNTED_HEAD) as u64)?;
    Ok((first, first.saturating_add(i64::from(last_number))))
}

fn take<const N: usize>(from: &mut impl Read) -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Passes over bytes where they lie, without a copy of them.
pub(super) fn skip(from: &mut impl BufRead, mut count: u64) -> anyhow::Result<()> {
    while count > 0 {
        let found = match from.fill_buf() {
            Ok(found) => found.len(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        ensure!(found > 0, "the response ends {count} bytes too soon");
        let passed = found.min(usize::try_from(count).unwrap_or(usize::MAX));
        from.consume(passed);
        count -= passed as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Bytes};

    /// A batch of so many records that begins at an offset.
    fn batch_at(offset: i64, count: i32) -> Vec<u8> {
        let mut batch = wire::batch(0, count, b"whatever");
        batch[..8].copy_from_slice(&offset.to_be_bytes());
        batch
    }

    fn response(code: i16, batches: &[Vec<u8>]) -> Vec<u8> {
        let batches = batches.concat();
        Bytes::default()
            .string("numbers")
            .u32(7)
            .u32(0)
            .i16(code)
            .raw(&[0; 24])
            .u8(0)
            .u32(u32::try_from(batches.len()).unwrap())
            .raw(&batches)
            .0
    }

    fn looked(bytes: &[u8], expected: i64) -> anyhow::Result<Slice> {
        read(&mut &*bytes, bytes.len() as u64, expected)
    }

    #[test]
    fn batches_that_follow_each_other_are_counted() {
        let bytes = response(0, &[batch_at(10, 5), batch_at(15, 1)]);
        let whole = (batch_at(0, 1).len() * 2) as u64;
        // A stream may begin inside of a batch.
        for expected in [10, 12, 14] {
            let slice = looked(&bytes, expected).unwrap();
            assert_eq!(slice, Slice { stream_id: 7, next: 16, bytes: whole });
        }
    }

    #[test]
    fn what_is_missing_or_twice_is_seen() {
        for (batches, expected) in [
            (vec![batch_at(10, 5), batch_at(16, 1)], 10),
            (vec![batch_at(10, 5), batch_at(14, 1)], 10),
            (vec![batch_at(10, 5)], 9),
            (vec![batch_at(10, 5)], 15),
            (vec![batch_at(10, 0)], 10),
            (vec![], 10),
        ] {
            assert!(looked(&response(0, &batches), expected).is_err(), "{batches:?}");
        }
    }

    #[test]
    fn an_error_and_every_truncation_are_refused() {
        assert!(looked(&response(6, &[batch_at(0, 1)]), 0).is_err());
        let bytes = response(0, &[batch_at(0, 1)]);
        for cut in 0..bytes.len() {
            assert!(looked(&bytes[..cut], 0).is_err(), "{cut} bytes");
        }
    }
}
