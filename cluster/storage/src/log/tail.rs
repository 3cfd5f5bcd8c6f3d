//! The newest batches, kept in memory for those who read at the end.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::batch::Header;

/// Chunks of whole batches without a gap between them, up to the log end offset.
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    limit: usize,
    /// Behind the last chunk.
    end: i64,
    /// Whether anything came since the last [`Tail::rest`].
    touched: bool,
}

struct Chunk {
    base: i64,
    next: i64,
    bytes: Bytes,
}

/// What [`Tail::read`] found.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    pub(super) base: i64,
    pub(super) next: i64,
}

impl Tail {
    pub(super) fn new(limit: usize, end: i64) -> Self {
        Self { chunks: VecDeque::new(), bytes: 0, limit, end, touched: false }
    }

    /// Whether a chunk of this size is worth keeping.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        bytes <= self.limit / 2
    }

    /// Adds what was just written; the oldest chunks give way.
    pub(super) fn push(&mut self, bytes: Bytes, next: i64) {
        self.touched = true;
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { base: self.end, next, bytes });
        self.end = next;
        while self.bytes > self.limit {
            let Some(oldest) = self.chunks.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Drops everything; the next push continues at `end`.
    pub(super) fn restart(&mut self, end: i64) {
        self.chunks = VecDeque::new();
        self.bytes = 0;
        self.end = end;
    }

    /// Gives the memory back if nothing was appended since the last call.
    pub(super) fn rest(&mut self) {
        if !std::mem::replace(&mut self.touched, false) {
            self.restart(self.end);
        }
    }

    /// Whole batches from the one that holds `from`, all before `end`; none if the tail does not reach back.
    pub(super) fn read(&self, from: i64, end: i64, max_bytes: usize) -> Option<Found> {
        let first = self.chunks.partition_point(|chunk| chunk.next <= from);
        let chunk = self.chunks.get(first).filter(|chunk| chunk.base <= from)?;
        let mut found = pick(&chunk.bytes, from, end, max_bytes)?;
        if found.next != chunk.next {
            return Some(found);
        }
        let mut more = BytesMut::new();
        for chunk in self.chunks.range(first + 1..) {
            let left = max_bytes.saturating_sub(found.bytes.len() + more.len());
            let Some(next) =
                pick(&chunk.bytes, chunk.base, end, left).filter(|next| next.bytes.len() <= left)
            else {
                break;
            };
            more.extend_from_slice(&next.bytes);
            found.next = next.next;
            if next.next != chunk.next {
                break;
            }
        }
        if !more.is_empty() {
            let mut joined = BytesMut::with_capacity(found.bytes.len() + more.len());
            joined.extend_from_slice(&found.bytes);
            joined.extend_from_slice(&more);
            found.bytes = joined.freeze();
        }
        Some(found)
    }
}

/// The batches of a chunk from the one that holds `from`; at least one, if it ends by `end`.
fn pick(chunk: &Bytes, from: i64, end: i64, max_bytes: usize) -> Option<Found> {
    let mut start = None;
    let mut at = 0;
    while at < chunk.len() {
        // The log wrote these bytes from checked batches, so they parse.
        let header = Header::parse(&chunk[at..]).ok()?;
        let next = header.next_offset()?;
        let after = at + header.total_bytes;
        if next > from {
            let (base, begin, _, stop) = *start.get_or_insert((header.base_offset, at, next, at));
            let too_much = stop > begin && after - begin > max_bytes;
            if next > end || too_much {
                break;
            }
            start = Some((base, begin, next, after));
        }
        at = after;
    }
    let (base, begin, next, stop) = start?;
    (stop > begin).then(|| Found { bytes: chunk.slice(begin..stop), base, next })
}
