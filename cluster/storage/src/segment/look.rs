//! Looking through a segment for what is not what was written, and how far that reaches.
//!
//! A damaged batch does not end the look: behind it batches are found again where its own header says, else where
//! the next index entry says, else at the end; and only where a whole batch with the right offset lies, so that no
//! lie of a header or of the index is believed. So what is damaged is known as a run of offsets *and* as a run of
//! bytes, and whoever brings whole batches for the one can tell that they fill the other.

use super::OpenSegment;
use super::header::{HEADER_BYTES, is_whole};
use super::scan::{LOOK_BYTES, WINDOW, Window, check};
use crate::batch::{self, Header};

/// Where a batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: u64,
    pub(crate) offset: i64,
}

/// A run of bytes that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rot {
    pub(crate) from: Place,
    /// Behind its last byte and record.
    pub(crate) to: Place,
    pub(crate) reason: String,
}

/// What a look came to.
#[derive(Debug)]
pub(crate) struct Looked {
    /// Offset behind the last batch that was looked at.
    pub(crate) next: i64,
    /// Bytes looked at.
    pub(crate) bytes: u64,
    pub(crate) rot: Vec<Rot>,
}

/// Why there is no good batch at a place, and the header that seems to be there.
struct Bad {
    reason: String,
    header: Option<Header>,
}

impl OpenSegment {
    /// Looks at the batches from the one that holds `from` on, up to `end`, until it has seen `max_bytes` or more,
    /// but at least that one. What lies between the index's entry before it and itself is looked at, too.
    pub(crate) fn look(&self, from: i64, end: Place, max_bytes: u64) -> Looked {
        let start = Place { position: HEADER_BYTES as u64, offset: self.identity.base };
        let hint = self.index.as_ref().and_then(|index| index.find(from, end.position));
        let hint = hint.map_or(start, |hint| Place { position: hint.position, offset: hint.offset });
        let looked = self.look_on(hint, from, end, max_bytes);
        // The index is only advice: what it led to may be no batch at all.
        let misled = hint != start && looked.rot.first().is_some_and(|rot| rot.from == hint);
        if misled { self.look_on(start, from, end, max_bytes) } else { looked }
    }

    fn look_on(&self, start: Place, from: i64, end: Place, max_bytes: u64) -> Looked {
        self.log.forget_cached(start.position, max_bytes.max(WINDOW as u64).min(end.position));
        let (mut at, mut rot) = (start, self.header_rot(from));
        let mut window = Window::from(start.position);
        let seen = |at: &Place| at.offset > from && at.position.saturating_sub(start.position) >= max_bytes;
        while at.offset < end.offset && !seen(&at) {
            match self.check_at(&mut window, at, end) {
                Ok(header) => at = behind(at, &header),
                Err(bad) => {
                    let to = self.good_again(at, bad.header, end);
                    rot.push(Rot { from: at, to, reason: bad.reason });
                    at = to;
                }
            }
        }
        let bytes = at.position.saturating_sub(start.position);
        // Nobody asked for these bytes, so they are to push nobody else's out of memory.
        self.log.forget_cached(start.position, bytes);
        Looked { next: at.offset, bytes, rot }
    }

    /// The segment's own header, where the look begins with its first record.
    fn header_rot(&self, from: i64) -> Vec<Rot> {
        let whole = from > self.identity.base || is_whole(&*self.log, self.identity).unwrap_or(false);
        let place = |position| Place { position, offset: self.identity.base };
        let rot = || Rot {
            from: place(0),
            to: place(HEADER_BYTES as u64),
            reason: "the header is not that of this segment".to_owned(),
        };
        (!whole).then(rot).into_iter().collect()
    }

    fn check_at(&self, window: &mut Window, at: Place, end: Place) -> Result<Header, Bad> {
        let bad = |header| move |reason: String| Bad { reason, header };
        let look = window.at(&*self.log, at.position, LOOK_BYTES, end.position);
        let look = look.map_err(|error| bad(None)(error.to_string()))?;
        let header = check(look, self.identity, at.offset, end.position.saturating_sub(at.position));
        let header = header.map_err(bad(None))?;
        let bytes = window.at(&*self.log, at.position, header.total_bytes, end.position);
        let bytes = bytes.map_err(|error| bad(Some(header))(error.to_string()))?;
        batch::verify(bytes).map_err(|error| bad(Some(header))(error.to_string()))
    }

    /// The first place behind a damaged batch where batches are whole again.
    fn good_again(&self, at: Place, header: Option<Header>, end: Place) -> Place {
        let entries = self.index.iter().flat_map(|index| index.behind(at.position));
        let entries = entries.map(|entry| Place { position: entry.position, offset: entry.offset });
        let by_header = header.map(|header| behind(at, &header));
        let within = |place: &Place| place.offset > at.offset && place.position < end.position;
        let whole = |place: &Place| {
            *place == end
                || within(place) && self.check_at(&mut Window::narrow(place.position), *place, end).is_ok()
        };
        by_header.into_iter().chain(entries).find(whole).unwrap_or(end)
    }
}

fn behind(at: Place, header: &Header) -> Place {
    Place { position: at.position + header.total_bytes as u64, offset: at.offset + header.records() }
}
