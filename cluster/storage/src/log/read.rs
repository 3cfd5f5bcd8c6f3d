//! Reading a log.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Isolation, Offsets, Slice, View};
use crate::error::{Corruption, ReadError};
use crate::segment::index::Index;
use crate::segment::{self, OpenSegment, ReadFailure, Segment};

/// How often a read looks again when retention removed the segment under it.
const ATTEMPTS: usize = 8;

impl View {
    /// Reads from memory; none if the disk has to be asked. Does not block.
    pub(crate) fn read_tail(
        &self,
        from: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Option<Slice>, ReadError> {
        let (offsets, end) = self.check_readable(from, isolation)?;
        if from >= end {
            return Ok(Some(nothing(from, offsets)));
        }
        let found = self.tail().read(from, end, max_bytes);
        Ok(found.map(|found| Slice {
            bytes: found.bytes,
            base_offset: found.base,
            next_offset: found.next,
            offsets,
        }))
    }

    /// Reads from disk.
    pub(crate) fn read(&self, from: i64, max_bytes: usize, isolation: Isolation) -> Result<Slice, ReadError> {
        for _ in 0..ATTEMPTS {
            let (offsets, end) = self.check_readable(from, isolation)?;
            if from >= end {
                return Ok(nothing(from, offsets));
            }
            let Some(segment) = self.segment_of(from) else { continue };
            let open = match self.open_segment(&segment) {
                Ok(open) => open,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(ReadError::Io { reason: error.to_string().into() }),
            };
            let read = open
                .read(from, end, max_bytes, segment.len())
                .map_err(|failure| explain(&segment, failure))?;
            return Ok(read.map_or(nothing(from, offsets), |read| Slice {
                bytes: read.bytes,
                base_offset: read.base,
                next_offset: read.next,
                offsets,
            }));
        }
        Err(ReadError::Io { reason: "the segment's file is not there".into() })
    }

    /// The segment that holds an offset. None if retention took it since the caller looked.
    pub(super) fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        self.read_segments(|segments| {
            let after = segments.partition_point(|segment| segment.base() <= offset);
            segments.get(after.checked_sub(1)?).cloned()
        })
    }

    fn open_segment(&self, segment: &Segment) -> io::Result<Arc<OpenSegment>> {
        if let Some(open) = segment.active() {
            return Ok(open);
        }
        if let Some(open) = self.opened().as_ref().filter(|open| open.identity == segment.identity()) {
            return Ok(Arc::clone(open));
        }
        let replaced = segment.replaced();
        let log = self.disk.open(segment.log_path())?;
        let index = Index::open(&*self.disk, &segment.index_path(), segment.base());
        let open = Arc::new(OpenSegment { identity: segment.identity(), log, index });
        let mut opened = self.opened();
        // A file that was replaced meanwhile is not kept for others.
        if segment.replaced() == replaced {
            *opened = Some(Arc::clone(&open));
        }
        drop(opened);
        Ok(open)
    }
}

fn nothing(from: i64, offsets: Offsets) -> Slice {
    Slice { bytes: Bytes::new(), base_offset: from, next_offset: from, offsets }
}

fn explain(segment: &segment::Segment, failure: ReadFailure) -> ReadError {
    match failure {
        ReadFailure::Io(error) => ReadError::Io { reason: error.to_string().into() },
        ReadFailure::Damaged { position, reason } => {
            ReadError::Corrupt(Corruption { file: segment.log_path().to_owned(), position, reason })
        }
    }
}
