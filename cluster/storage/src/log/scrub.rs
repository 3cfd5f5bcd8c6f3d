//! Looking through a log for what a disk did not keep, while it is written and read.
//!
//! Nothing here takes a lock that the writer or a reader waits for: a segment is opened as a reader does, and what
//! looks damaged counts only if the segment is still a part of the log and nothing was cut off meanwhile.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::View;
use crate::error::ReadError;
use crate::segment::index::Index;
use crate::segment::{OpenSegment, Place, Rot, Segment};

/// How often a look is taken again when retention removed the segment under it.
const ATTEMPTS: usize = 8;

/// A run of records of one segment that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The log file.
    pub file: PathBuf,
    /// First offset of the segment.
    pub segment: i64,
    /// First record that cannot be read.
    pub from: i64,
    /// Behind the last one; the same as `from` if only the file's own header is damaged.
    pub to: i64,
    /// The first byte of it in the file.
    pub position: u64,
    /// Behind the last one.
    pub end: u64,
    /// Epoch of the records.
    pub leader_epoch: i32,
    /// What is wrong with the first of them.
    pub reason: String,
}

/// What a look at a part of a log came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where to go on: behind what was looked at.
    pub next_offset: i64,
    /// Whether that is where the segment ends, for now.
    pub ended: bool,
    /// Bytes looked at.
    pub bytes: u64,
    /// What is damaged among them, in order.
    pub damage: Vec<Damage>,
}

/// The same, and what to do before it can be mended.
pub(crate) struct Seen {
    pub(crate) scrubbed: Scrubbed,
    /// The segment to be closed first: how far damage reaches is known only of a closed one.
    pub(crate) close_first: Option<i64>,
}

impl View {
    /// The first offset of each segment that holds anything.
    pub(crate) fn segment_bases(&self) -> Vec<i64> {
        self.read_segments(|segments| {
            segments.iter().filter(|segment| !segment.is_empty()).map(|segment| segment.base()).collect()
        })
    }

    /// Looks at the segment that holds `from`, from there on, up to what is durable and to about `max_bytes`.
    pub(crate) fn scrub(&self, from: i64, max_bytes: u64) -> Result<Seen, ReadError> {
        for _ in 0..ATTEMPTS {
            let durable = *self.watch_durable().borrow();
            self.check_readable(from, super::Isolation::Uncommitted)?;
            let (Some(segment), Some(cuts)) = (self.segment_of(from), self.cuts()) else { continue };
            let closed = self.holds(&segment).1;
            let end = if closed { segment.next_offset() } else { durable };
            if from >= end {
                return Ok(nothing(from));
            }
            let open = match open_apart(self, &segment) {
                Ok(open) => open,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(ReadError::Io { reason: error.to_string().into() }),
            };
            // After the offset: the writer tells of an offset only once the length covers it.
            let end = Place { position: segment.len(), offset: end };
            let looked = open.look(from, end, max_bytes);
            let stands = self.cuts() == Some(cuts) && self.holds(&segment).0;
            let rot = if stands { looked.rot } else { Vec::new() };
            let close_first = (!closed && !rot.is_empty()).then(|| segment.base());
            let damage = rot.into_iter().map(|rot| damage(&segment, rot)).collect();
            let (next_offset, ended) = (looked.next, looked.next >= end.offset);
            let scrubbed = Scrubbed { next_offset, ended, bytes: looked.bytes, damage };
            return Ok(Seen { scrubbed, close_first });
        }
        Ok(nothing(from))
    }
}

/// Nothing was looked at, and there is nothing behind it for now.
fn nothing(from: i64) -> Seen {
    let scrubbed = Scrubbed { next_offset: from, ended: true, bytes: 0, damage: Vec::new() };
    Seen { scrubbed, close_first: None }
}

/// Not kept for readers, who are at other places.
pub(super) fn open_apart(view: &View, segment: &Segment) -> io::Result<Arc<OpenSegment>> {
    if let Some(open) = segment.active() {
        return Ok(open);
    }
    let log = view.disk.open(segment.log_path())?;
    let index = Index::open(&*view.disk, &segment.index_path(), segment.base());
    Ok(Arc::new(OpenSegment { identity: segment.identity(), log, index }))
}

fn damage(segment: &Segment, rot: Rot) -> Damage {
    Damage {
        file: segment.log_path().to_owned(),
        segment: segment.base(),
        from: rot.from.offset,
        to: rot.to.offset,
        position: rot.from.position,
        end: rot.to.position,
        leader_epoch: segment.identity().leader_epoch,
        reason: rot.reason,
    }
}
