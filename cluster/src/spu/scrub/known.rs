//! What is known of damage on this SPU's disk: when each segment was looked at, and which places wait to be mended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cluster_storage::Damage;

use super::due::SegmentId;

/// A place that could not be mended is tried again after this long, in milliseconds; a reader who meets it before
/// hears at once that it is damaged.
pub(super) const RETRY: u64 = 60_000;

/// What is known. Times are milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Known {
    looked: HashMap<SegmentId, u64>,
    /// By segment and first offset.
    places: BTreeMap<(SegmentId, i64), Place>,
}

/// A damaged place.
#[derive(Debug)]
struct Place {
    /// Offset behind it.
    to: i64,
    /// When it was last tried to mend it.
    tried: u64,
}

impl Known {
    /// When a segment was looked at last.
    pub(super) fn looked(&self, id: &SegmentId) -> Option<u64> {
        self.looked.get(id).copied()
    }

    /// It is looked at now.
    pub(super) fn look(&mut self, id: &SegmentId, now: u64) {
        self.looked.insert(id.clone(), now);
    }

    /// This place is tried to be mended now. Says whether it is a new one.
    pub(super) fn try_now(&mut self, id: &SegmentId, damage: &Damage, now: u64) -> bool {
        let place = Place { to: damage.to, tried: now };
        self.places.insert((id.clone(), damage.from), place).is_none()
    }

    /// What is at this offset is whole.
    pub(super) fn is_whole(&mut self, id: &SegmentId, offset: i64) {
        self.places
            .retain(|(of, from), place| of != id || offset < *from || offset >= place.to.max(from + 1));
    }

    /// A whole segment was looked through and this is all that is damaged in it.
    pub(super) fn found(&mut self, id: &SegmentId, damage: &[Damage]) {
        let found: BTreeSet<i64> = damage.iter().map(|damage| damage.from).collect();
        self.places.retain(|(of, from), _| of != id || found.contains(from));
    }

    /// Whether what is damaged at this offset, if anything is, was tried to be mended a moment ago.
    pub(super) fn tried_lately(&self, id: &SegmentId, offset: i64, now: u64) -> bool {
        let of_segment = self.places.range((id.clone(), i64::MIN)..=(id.clone(), offset));
        let holds = |place: &Place| offset < place.to && now.saturating_sub(place.tried) < RETRY;
        of_segment.into_iter().any(|(_, place)| holds(place))
    }

    /// A place that has waited to be tried again, and is tried now, or how long the next one has to wait.
    pub(super) fn retry(&mut self, now: u64) -> Result<(SegmentId, i64), Option<u64>> {
        let first = self.places.iter_mut().min_by_key(|(_, place)| place.tried);
        let Some(((id, from), place)) = first else { return Err(None) };
        match RETRY.saturating_sub(now.saturating_sub(place.tried)) {
            0 => {
                place.tried = now;
                Ok((id.clone(), *from))
            }
            wait => Err(Some(wait)),
        }
    }

    /// Forgets what is not on this disk any more.
    pub(super) fn keep(&mut self, there: &BTreeSet<SegmentId>) {
        self.looked.retain(|id, _| there.contains(id));
        self.places.retain(|(id, _), _| there.contains(id));
    }

    /// Damaged places of the copy that this is a segment of.
    pub(super) fn n_places_of(&self, segment: &SegmentId) -> usize {
        let first = SegmentId { base: i64::MIN, ..segment.clone() };
        let last = SegmentId { base: i64::MAX, ..segment.clone() };
        self.places.range((first, i64::MIN)..=(last, i64::MAX)).count()
    }

    /// Damaged places.
    pub(super) fn n_places(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(base: i64) -> SegmentId {
        SegmentId { topic_id: Uuid::nil(), partition: 0, base }
    }

    fn damage(from: i64, to: i64) -> Damage {
        let (file, reason) = (Default::default(), String::new());
        Damage { file, segment: 0, from, to, position: 36, end: 99, leader_epoch: 1, reason }
    }

    #[test]
    fn a_place_is_new_once_and_is_left_alone_for_a_while() {
        let mut known = Known::default();
        assert_eq!(known.retry(0), Err(None));
        assert!(known.try_now(&id(0), &damage(10, 20), 1_000));
        assert!(!known.try_now(&id(0), &damage(10, 20), 2_000));
        for (offset, now, lately) in [
            (9, 2_000, false),
            (10, 2_000, true),
            (19, 2_000 + RETRY - 1, true),
            (19, 2_000 + RETRY, false),
            (20, 2_000, false),
        ] {
            assert_eq!(known.tried_lately(&id(0), offset, now), lately, "{offset} at {now}");
        }
        assert!(!known.tried_lately(&id(100), 10, 2_000));
        assert_eq!(known.retry(3_000), Err(Some(RETRY - 1_000)));
        assert_eq!(known.retry(2_000 + RETRY), Ok((id(0), 10)));
        assert_eq!(known.retry(2_001 + RETRY), Err(Some(RETRY - 1)));
        known.is_whole(&id(0), 20);
        assert_eq!(known.n_places(), 1);
        known.is_whole(&id(0), 12);
        assert_eq!(known.n_places(), 0);
        // Of a file's own header, which holds no record.
        known.try_now(&id(0), &damage(0, 0), 1_000);
        known.is_whole(&id(0), 0);
        assert_eq!(known.n_places(), 0);
    }

    #[test]
    fn what_is_whole_or_gone_is_forgotten() {
        let mut known = Known::default();
        for (segment, from) in [(0, 1), (0, 5), (100, 101)] {
            known.try_now(&id(segment), &damage(from, from + 1), 1_000);
            known.look(&id(segment), 1_000);
        }
        known.found(&id(0), &[damage(5, 6)]);
        assert_eq!(known.n_places(), 2);
        let other = SegmentId { partition: 1, ..id(0) };
        assert_eq!((known.n_places_of(&id(7)), known.n_places_of(&other)), (2, 0));
        known.keep(&BTreeSet::from([id(0)]));
        assert_eq!((known.n_places(), known.looked(&id(0)), known.looked(&id(100))), (1, Some(1_000), None));
    }
}
