//! Things of which there are only so many: sockets first of all, of which a gateway runs out before anything
//! else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are not connections: the database, listeners, the runtime, the table file.
const OTHER_FILES: usize = 128;
/// Places that may be taken beyond the bound while those who were sent away are still leaving.
const LEAVING: usize = 64;

/// A number of places.
#[derive(Debug)]
pub struct Capacity {
    bound: usize,
    taken: AtomicUsize,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<Capacity>);

impl Capacity {
    /// As many sockets as the open-file limit carries.
    pub fn within_files(open_files: u64) -> Self {
        let files = usize::try_from(open_files).unwrap_or(usize::MAX);
        Self::new(files.saturating_sub(OTHER_FILES + LEAVING).max(2))
    }

    /// At most `bound`.
    pub fn new(bound: usize) -> Self {
        Self { bound, taken: AtomicUsize::new(0) }
    }

    /// A place, if there is one; else one that `make_room` is about to free.
    pub fn take(self: &Arc<Self>, make_room: impl FnOnce() -> bool) -> Option<Place> {
        if self.take_within(self.bound) || (make_room() && self.take_within(self.bound + LEAVING)) {
            return Some(Place(self.clone()));
        }
        None
    }

    fn take_within(&self, bound: usize) -> bool {
        let more = |taken| (taken < bound).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// How many there are.
    pub fn bound(&self) -> usize {
        self.bound
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Raises the soft limit of open files to the hard one and returns what is in force.
pub fn raise_open_file_limit() -> u64 {
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    let in_force = if setrlimit(Resource::Nofile, wanted).is_ok() { now.maximum } else { now.current };
    in_force.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_it_is_dropped() {
        let capacity = Arc::new(Capacity::new(2));
        let first = capacity.take(|| false).unwrap();
        let _second = capacity.take(|| false).unwrap();
        assert!(capacity.take(|| false).is_none());
        drop(first);
        assert!(capacity.take(|| false).is_some());
    }

    #[test]
    fn room_that_is_being_made_counts_up_to_a_bound() {
        let capacity = Arc::new(Capacity::new(1));
        let _first = capacity.take(|| false).unwrap();
        let leaving: Vec<_> = (0..LEAVING + 5).filter_map(|_| capacity.take(|| true)).collect();
        assert_eq!(leaving.len(), LEAVING);
    }
}
