//! Which segment is looked through next: a calendar, so that nothing has to be remembered over a restart.
//!
//! Each segment has a turn in each period, at a moment that its name gives. A segment is due when its turn has come
//! since the process began and it was not looked at since. So after a restart nothing is due at once, and however
//! often a process is restarted, a segment misses its turn only if the process is away at that very moment.

use std::hash::{DefaultHasher, Hash, Hasher};

use uuid::Uuid;

/// A segment of one copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SegmentId {
    /// Incarnation of the topic.
    pub(super) topic_id: Uuid,
    /// The partition's number.
    pub(super) partition: u32,
    /// First offset.
    pub(super) base: i64,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// This segment has waited longest.
    Look(SegmentId),
    /// Nothing for so many milliseconds; none if there is nothing at all.
    Wait(Option<u64>),
}

/// When whose turn is. Times are milliseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    /// When the process began.
    pub(super) began: u64,
    /// The length of a period; not 0.
    pub(super) period: u64,
    /// The SPU's name, so that the copies of a partition are not all looked at in the same moment.
    pub(super) spu: String,
}

impl Calendar {
    /// Of these segments, each with the time when it was looked at last.
    pub(super) fn next(
        &self,
        segments: impl IntoIterator<Item = (SegmentId, Option<u64>)>,
        now: u64,
    ) -> Next {
        let (mut longest, mut wait) = (None, None);
        for (id, looked) in segments {
            let turn = self.last_turn(&id, now);
            let missed = turn.filter(|turn| *turn > looked.unwrap_or(0).max(self.began));
            match missed {
                Some(turn) => longest = longest.into_iter().chain([(turn, id)]).min(),
                None => {
                    let until = (self.turn_in_period(&id) + self.period - now % self.period) % self.period;
                    wait = wait.into_iter().chain([until.max(1)]).min();
                }
            }
        }
        longest.map_or(Next::Wait(wait), |(_, id)| Next::Look(id))
    }

    /// The segment's last turn up to now.
    fn last_turn(&self, id: &SegmentId, now: u64) -> Option<u64> {
        let since = (now % self.period + self.period - self.turn_in_period(id)) % self.period;
        now.checked_sub(since)
    }

    fn turn_in_period(&self, id: &SegmentId) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.spu, id).hash(&mut hasher);
        hasher.finish() % self.period
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const WEEK: u64 = 7 * 24 * HOUR;

    /// 1,000 segments and when each was looked at.
    type World = BTreeMap<SegmentId, Vec<u64>>;

    fn world() -> World {
        let id = |n: u32| SegmentId { topic_id: Uuid::from_u128(7), partition: n % 10, base: i64::from(n) };
        (0..1_000).map(|n| (id(n), Vec::new())).collect()
    }

    fn calendar(began: u64) -> Calendar {
        Calendar { began, period: WEEK, spu: "main-0".into() }
    }

    /// One life of a process, each look taking a second; returns the most that were due at any one moment.
    fn live(world: &mut World, began: u64, ended: u64) -> usize {
        let calendar = calendar(began);
        let mut looked: BTreeMap<SegmentId, u64> = BTreeMap::new();
        let (mut now, mut run, mut longest) = (began, 0, 0);
        while now < ended {
            let known = world.keys().map(|id| (id.clone(), looked.get(id).copied()));
            match calendar.next(known, now) {
                Next::Look(id) => {
                    looked.insert(id.clone(), now);
                    world.get_mut(&id).unwrap().push(now);
                    (now, run) = (now + 1_000, run + 1);
                }
                Next::Wait(wait) => (now, run) = (now + wait.unwrap(), 0),
            }
            longest = longest.max(run);
        }
        longest
    }

    #[test]
    fn every_segment_is_looked_at_once_a_period_and_a_start_brings_no_storm() {
        let (mut world, began) = (world(), 1_900_000_000_123);
        assert!(live(&mut world, began, began + 3 * WEEK) < 10);
        for (id, looked) in &world {
            assert!((2..=3).contains(&looked.len()), "{id:?}: {looked:?}");
            // A look that waits for another one is late by some seconds.
            assert!(looked.windows(2).all(|pair| pair[1] - pair[0] < WEEK + HOUR), "{id:?}: {looked:?}");
        }
    }

    #[test]
    fn a_process_that_is_restarted_each_hour_misses_none() {
        let (mut world, began) = (world(), 1_900_000_000_123);
        for hour in 0..7 * 24 {
            live(&mut world, began + hour * HOUR, began + (hour + 1) * HOUR);
        }
        assert!(world.values().all(|looked| !looked.is_empty()));
    }

    #[test]
    fn who_waits_longest_comes_first_and_nobody_twice() {
        let mut world = world();
        let (began, calendar) = (1_900_000_000_000, calendar(1_900_000_000_000));
        // As if the disk had been busy for half a week.
        let now = began + WEEK / 2;
        let mut turns = Vec::new();
        let mut looked = BTreeMap::new();
        while let Next::Look(id) =
            calendar.next(world.keys().map(|id| (id.clone(), looked.get(id).copied())), now)
        {
            turns.push(calendar.last_turn(&id, now).unwrap());
            assert_eq!(looked.insert(id.clone(), now), None, "{id:?} twice");
            world.get_mut(&id).unwrap().push(now);
        }
        assert!(turns.is_sorted() && (400..600).contains(&turns.len()), "{}", turns.len());
    }

    #[test]
    fn a_clock_that_goes_back_brings_no_storm_and_copies_have_other_turns() {
        let known = || world().into_keys().map(|id| (id, Some(1_900_000_000_000)));
        let early = calendar(1_900_000_000_000).next(known(), 1_800_000_000_000);
        assert!(matches!(early, Next::Wait(Some(wait)) if wait <= WEEK), "{early:?}");
        assert_eq!(calendar(0).next([], 9), Next::Wait(None));
        let other = Calendar { spu: "main-1".into(), ..calendar(0) };
        let same =
            world().into_keys().filter(|id| other.turn_in_period(id) == calendar(0).turn_in_period(id));
        assert!(same.count() < 3);
    }
}
