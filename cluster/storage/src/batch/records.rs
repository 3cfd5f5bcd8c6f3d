//! A bounded walk over the records of a batch.
//!
//! Clients decode records with a library that trusts the lengths inside (a length can make it ask for more
//! memory than there is, which aborts the process). So a batch whose inner lengths lie is refused where it
//! comes in, and no consumer ever meets it. The walk reads a stream, so that a compressed batch can be looked
//! into without keeping what it holds: no length makes the walk ask for memory.

use std::io::{self, BufRead};

use super::BatchError;

const COUNT_BYTES: u64 = 4;
/// A number of 32 bits takes no more than this.
const VARINT_BYTES: u64 = 5;

/// Why records that are read from a stream are refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// They lie about their lengths or their number.
    #[error("the records are malformed: {0}")]
    Malformed(&'static str),
    /// What gives them failed.
    #[error("the records cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Checks plain (decompressed) records against the number that the batch's header claims.
pub fn check_records(payload: &[u8], last_offset_delta: i32) -> Result<(), BatchError> {
    read_records(payload, last_offset_delta).map_err(|error| match error {
        RecordsError::Malformed(lie) => BatchError::Records(lie),
        RecordsError::Read(_) => BatchError::Records("they cannot be read"),
    })
}

/// The same for records that come from a stream, which is read to its end unless something is wrong before.
pub fn read_records(from: impl BufRead, last_offset_delta: i32) -> Result<(), RecordsError> {
    let mut walk = Walk { from, left: COUNT_BYTES };
    let count = walk.count()?;
    if i64::from(count) != i64::from(last_offset_delta) + 1 {
        return Err(RecordsError::Malformed("the count differs from the last offset delta"));
    }
    for _ in 0..count {
        walk.left = VARINT_BYTES;
        walk.left = walk.length()?;
        walk.record()?;
    }
    if walk.from.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(RecordsError::Malformed("bytes behind the last record"))
    }
}

/// What is still to come.
struct Walk<R> {
    from: R,
    /// Bytes left of what is being read.
    left: u64,
}

impl<R: BufRead> Walk<R> {
    fn record(&mut self) -> Result<(), RecordsError> {
        self.byte()?; // attributes, not used by anyone
        self.varint()?; // timestamp delta
        self.varint()?; // offset delta
        match self.byte()? {
            0 => {}
            1 => self.skip_bytes("a key is longer than its record")?,
            _ => return Err(RecordsError::Malformed("a key flag is neither 0 nor 1")),
        }
        self.skip_bytes("a value is longer than its record")?;
        if self.varint()? != 0 {
            return Err(RecordsError::Malformed("a record has headers"));
        }
        if self.left == 0 {
            Ok(())
        } else {
            Err(RecordsError::Malformed("a record is shorter than its length"))
        }
    }

    fn count(&mut self) -> Result<u32, RecordsError> {
        let mut count = 0;
        for _ in 0..COUNT_BYTES {
            count = count << 8 | u32::from(self.byte()?);
        }
        Ok(count)
    }

    fn byte(&mut self) -> Result<u8, RecordsError> {
        let there = self.from.fill_buf()?;
        let Some(byte) = there.first().copied().filter(|_| self.left > 0) else {
            return Err(RecordsError::Malformed("a record ends early"));
        };
        self.from.consume(1);
        self.left -= 1;
        Ok(byte)
    }

    /// A signed number in zigzag form. The published clients decode right only what fits into 32 bits, so
    /// nothing longer is let in.
    fn varint(&mut self) -> Result<i32, RecordsError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let zigzag =
                    u32::try_from(value).map_err(|_| RecordsError::Malformed("a number is too large"))?;
                return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        Err(RecordsError::Malformed("a number is too long"))
    }

    fn length(&mut self) -> Result<u64, RecordsError> {
        u64::try_from(self.varint()?).map_err(|_| RecordsError::Malformed("a negative length"))
    }

    fn skip_bytes(&mut self, lie: &'static str) -> Result<(), RecordsError> {
        let mut n_skipped = self.length()?;
        if n_skipped > self.left {
            return Err(RecordsError::Malformed(lie));
        }
        self.left -= n_skipped;
        while n_skipped > 0 {
            let n_there = self.from.fill_buf()?.len();
            if n_there == 0 {
                return Err(RecordsError::Malformed("a record is longer than its batch"));
            }
            let step = usize::try_from(n_skipped).map_or(n_there, |n_skipped| n_skipped.min(n_there));
            self.from.consume(step);
            n_skipped -= step as u64;
        }
        Ok(())
    }
}
