//! A bounded walk over the records of a batch.
//!
//! Clients decode records with a library that trusts the lengths inside (a length can make it ask for more
//! memory than there is, which aborts the process). So a batch whose inner lengths lie is refused where it
//! comes in, and no consumer ever meets it.

use super::BatchError;

/// A record is at least length, attributes, two deltas, key flag, value length and header count.
const LEAST_RECORD_BYTES: usize = 7;

/// Checks plain (decompressed) records against the number that the batch's header claims.
pub fn check_records(payload: &[u8], last_offset_delta: i32) -> Result<(), BatchError> {
    let mut walk = Walk(payload);
    let count = walk.count()?;
    if i64::from(count) != i64::from(last_offset_delta) + 1 {
        return Err(BatchError::Records("the count differs from the last offset delta"));
    }
    if usize::try_from(count).is_ok_and(|count| count > walk.0.len() / LEAST_RECORD_BYTES) {
        return Err(BatchError::Records("the count is larger than the bytes allow"));
    }
    for _ in 0..count {
        let length = walk.length("a record is longer than its batch")?;
        let (record, rest) = walk.0.split_at(length);
        check_record(record)?;
        walk.0 = rest;
    }
    if walk.0.is_empty() { Ok(()) } else { Err(BatchError::Records("bytes behind the last record")) }
}

fn check_record(record: &[u8]) -> Result<(), BatchError> {
    let mut walk = Walk(record);
    walk.byte()?; // attributes, not used by anyone
    walk.varint()?; // timestamp delta
    walk.varint()?; // offset delta
    match walk.byte()? {
        0 => {}
        1 => walk.skip_bytes("a key is longer than its record")?,
        _ => return Err(BatchError::Records("a key flag is neither 0 nor 1")),
    }
    walk.skip_bytes("a value is longer than its record")?;
    if walk.varint()? != 0 {
        return Err(BatchError::Records("a record has headers"));
    }
    if walk.0.is_empty() { Ok(()) } else { Err(BatchError::Records("a record is shorter than its length")) }
}

/// What is left to walk over.
struct Walk<'a>(&'a [u8]);

impl Walk<'_> {
    fn count(&mut self) -> Result<u32, BatchError> {
        let Some((count, rest)) = self.0.split_first_chunk::<4>() else {
            return Err(BatchError::Records("no record count"));
        };
        self.0 = rest;
        Ok(u32::from_be_bytes(*count))
    }

    fn byte(&mut self) -> Result<u8, BatchError> {
        let Some((byte, rest)) = self.0.split_first() else {
            return Err(BatchError::Records("a record ends early"));
        };
        self.0 = rest;
        Ok(*byte)
    }

    /// A signed number in zigzag form. The published clients decode right only what fits into 32 bits, so
    /// nothing longer is let in.
    fn varint(&mut self) -> Result<i32, BatchError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let zigzag =
                    u32::try_from(value).map_err(|_| BatchError::Records("a number is too large"))?;
                return Ok((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32));
            }
        }
        Err(BatchError::Records("a number is too long"))
    }

    /// A length that what is left can fulfil.
    fn length(&mut self, lie: &'static str) -> Result<usize, BatchError> {
        let length = usize::try_from(self.varint()?).map_err(|_| BatchError::Records("a negative length"))?;
        if length <= self.0.len() { Ok(length) } else { Err(BatchError::Records(lie)) }
    }

    fn skip_bytes(&mut self, lie: &'static str) -> Result<(), BatchError> {
        let length = self.length(lie)?;
        self.0 = &self.0[length..];
        Ok(())
    }
}
