//! Reading whole batches out of a segment, every one checked on its way out.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::header::{HEADER_BYTES, Identity};
use super::index::Index;
use super::scan::{LOOK_BYTES, check};
use crate::batch::{self, Header};
use crate::disk::{File, read_exact_at};

/// The open files of a segment. Readable while it is held, also after the segment was removed.
pub(crate) struct OpenSegment {
    pub(crate) identity: Identity,
    pub(crate) log: Arc<dyn File>,
    /// None if there is no usable one; then every look begins at the segment's start.
    pub(crate) index: Option<Index>,
}

/// Whole batches.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) bytes: Bytes,
    pub(crate) base: i64,
    pub(crate) next: i64,
}

/// Why nothing could be read.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// The bytes are not those that were written.
    Damaged { position: u64, reason: String },
    /// The disk did not answer.
    Io(io::Error),
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A batch found in the file.
struct Place {
    position: u64,
    header: Header,
}

impl OpenSegment {
    /// Batches from the one that holds `from`, none of them reaching beyond `end`, up to `max_bytes` but at
    /// least one; none if the first already reaches beyond. `len` is where the whole batches of the file end.
    pub(crate) fn read(
        &self,
        from: i64,
        end: i64,
        max_bytes: usize,
        len: u64,
    ) -> Result<Option<Read>, ReadFailure> {
        let first = self.find(from, len)?;
        let left = usize::try_from(len - first.position).unwrap_or(usize::MAX);
        let mut bytes = vec![0; max_bytes.max(first.header.total_bytes).min(left)];
        read_exact_at(&*self.log, &mut bytes, first.position)?;
        let mut good = 0;
        let mut next = first.header.base_offset;
        while good < bytes.len() {
            let header = match self.check_whole(&bytes[good..], next) {
                Ok(header) => header,
                // The slice's end cuts this batch; it comes with the next read.
                Err(Refused::Cut) if good > 0 => break,
                // What was good goes out; the next read begins here and says what is wrong.
                Err(Refused::Damaged(_)) if good > 0 => break,
                Err(Refused::Cut) => {
                    let reason = "the batch changed while it was read".to_owned();
                    return Err(ReadFailure::Damaged { position: first.position, reason });
                }
                Err(Refused::Damaged(reason)) => {
                    return Err(ReadFailure::Damaged { position: first.position, reason });
                }
            };
            let after = next + header.records();
            if after > end {
                break;
            }
            good += header.total_bytes;
            next = after;
        }
        bytes.truncate(good);
        let read = Read { bytes: bytes.into(), base: first.header.base_offset, next };
        Ok((good > 0).then_some(read))
    }

    /// Where the batch that holds `offset` is: its position and first offset.
    pub(crate) fn place(&self, offset: i64, len: u64) -> Result<(u64, i64), ReadFailure> {
        self.find(offset, len).map(|place| (place.position, place.header.base_offset))
    }

    /// The batch that holds `offset`, by its header.
    fn find(&self, offset: i64, len: u64) -> Result<Place, ReadFailure> {
        let start = (HEADER_BYTES as u64, self.identity.base);
        let hint = self
            .index
            .as_ref()
            .and_then(|index| index.find(offset, len))
            .map_or(start, |entry| (entry.position, entry.offset));
        match self.walk(hint, offset, len) {
            // The index is only advice: if it led to something odd, look again without.
            Err(ReadFailure::Damaged { .. }) if hint != start => {
                self.walk(start, offset, len).or_else(|_| self.walk(hint, offset, len))
            }
            result => result,
        }
    }

    fn walk(&self, start: (u64, i64), offset: i64, len: u64) -> Result<Place, ReadFailure> {
        let (mut position, mut expected) = start;
        loop {
            let left = len.saturating_sub(position);
            let mut look = [0; LOOK_BYTES];
            let wanted = LOOK_BYTES.min(usize::try_from(left).unwrap_or(LOOK_BYTES));
            read_exact_at(&*self.log, &mut look[..wanted], position)?;
            let header = check(&look[..wanted], self.identity, expected, left)
                .map_err(|reason| ReadFailure::Damaged { position, reason })?;
            expected += header.records();
            if expected > offset {
                return Ok(Place { position, header });
            }
            position += header.total_bytes as u64;
        }
    }

    fn check_whole(&self, bytes: &[u8], offset: i64) -> Result<Header, Refused> {
        let header = match check(bytes, self.identity, offset, u64::MAX) {
            Ok(header) => header,
            Err(_) if bytes.len() < LOOK_BYTES => return Err(Refused::Cut),
            Err(reason) => return Err(Refused::Damaged(reason)),
        };
        if header.total_bytes > bytes.len() {
            return Err(Refused::Cut);
        }
        batch::verify(bytes).map_err(|error| Refused::Damaged(error.to_string()))
    }
}

/// Why the batch at some place of a slice is not served.
enum Refused {
    /// The slice ends within it.
    Cut,
    /// It is not what was written.
    Damaged(String),
}
