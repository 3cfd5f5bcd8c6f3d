//! How a leader answers a copy that wants to follow: by comparing epochs, never by trusting lengths.

use crate::peer::{Fed, Follow};

/// What the leader's log says about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) log_start: i64,
    pub(super) leo: i64,
    /// Epoch of the leader's record before the follower's position.
    pub(super) epoch_before: Option<i32>,
    /// The newest epoch up to the follower's last, and its end, in the leader's log.
    pub(super) end_of_epoch: Option<(i32, i64)>,
}

/// `None` if the follower's log is a part of the leader's: it can be fed from its position on.
pub(super) fn objection(follow: &Follow, facts: &Facts) -> Option<Fed> {
    let Some(last_epoch) = follow.last_epoch else {
        // An empty copy takes anything from where it stands.
        return (follow.position < facts.log_start || follow.position > facts.leo)
            .then_some(Fed::TooOld { log_start: facts.log_start });
    };
    if follow.position < facts.log_start {
        return Some(Fed::TooOld { log_start: facts.log_start });
    }
    if follow.position <= facts.leo && facts.epoch_before == Some(last_epoch) {
        return None;
    }
    match facts.end_of_epoch {
        // The record before is not there any more. It was of this epoch or an earlier one, and an epoch has one writer:
        // had this one begun after that record, the copy's would not be of it.
        Some((epoch, end))
            if epoch == last_epoch && facts.log_start == follow.position && end >= follow.position =>
        {
            None
        }
        Some((epoch, end)) => Some(Fed::Diverged { epoch, end: end.min(follow.position) }),
        // All that the leader has is of later epochs. Where its log begins at 0, nothing of the copy is in it.
        None if facts.log_start == 0 => Some(Fed::Diverged { epoch: -1, end: 0 }),
        None => Some(Fed::TooOld { log_start: facts.log_start }),
    }
}

/// Where a copy cuts back to when its leader says that they part: what both have of epochs up to the leader's, and
/// nothing of a later one. `own_end` is where the copy's records of epochs up to that one end.
pub(super) fn cut_to(own_end: Option<(i32, i64)>, end: i64) -> i64 {
    own_end.map_or(0, |(_, own_end)| own_end.min(end))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::link::PartitionKey;
    use crate::peer::Placed;

    /// A log as runs of epochs: epoch, and how many records.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Log(Vec<(i32, i64)>);

    impl Log {
        fn records(&self) -> Vec<i32> {
            self.0.iter().flat_map(|(epoch, n)| (0..*n).map(|_| *epoch)).collect()
        }

        fn of(records: &[i32]) -> Self {
            records.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as i64)).collect::<Vec<_>>().into()
        }

        fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
            let records = self.records();
            let last = records.iter().rposition(|record| *record <= epoch)?;
            Some((records[last], last as i64 + 1))
        }
    }

    impl From<Vec<(i32, i64)>> for Log {
        fn from(runs: Vec<(i32, i64)>) -> Self {
            Self(runs)
        }
    }

    /// Follows until there is no objection; the copy's log then.
    fn settle(leader: &Log, copy: &Log) -> Vec<i32> {
        let (theirs, mut own) = (leader.records(), copy.records());
        for _ in 0..100 {
            let position = own.len() as i64;
            let last_epoch = own.last().copied();
            let placed =
                Placed { key: PartitionKey { topic: "t".into(), partition: 0 }, topic_id: Uuid::nil() };
            let follow = Follow { spu: 2, placed, epoch: 9, position, last_epoch };
            let facts = Facts {
                log_start: 0,
                leo: theirs.len() as i64,
                epoch_before: own.len().checked_sub(1).and_then(|before| theirs.get(before)).copied(),
                end_of_epoch: last_epoch.and_then(|epoch| leader.end_of_epoch(epoch)),
            };
            match objection(&follow, &facts) {
                None => return own,
                Some(Fed::Diverged { epoch, end }) => {
                    let to = cut_to(Log::of(&own).end_of_epoch(epoch), end);
                    assert!(to < position, "{leader:?} {copy:?}: it must get shorter");
                    own.truncate(usize::try_from(to).unwrap());
                }
                Some(other) => panic!("{leader:?} {copy:?}: {other:?}"),
            }
        }
        panic!("{leader:?} {copy:?}: no end");
    }

    #[test]
    fn a_copy_ends_as_a_part_of_its_leaders_log_and_keeps_what_they_share() {
        for (leader, copy, kept) in [
            (vec![(1, 5)], vec![], 0),
            (vec![(1, 5)], vec![(1, 3)], 3),
            (vec![(1, 5)], vec![(1, 8)], 5),
            (vec![(1, 5), (3, 2)], vec![(1, 5), (2, 4)], 5),
            (vec![(1, 5), (3, 2)], vec![(1, 4), (2, 4)], 4),
            (vec![(3, 2)], vec![(1, 2), (2, 2)], 0),
            (vec![(1, 2), (4, 9)], vec![(1, 2), (2, 1), (3, 1)], 2),
            (vec![(2, 2), (4, 9)], vec![(2, 2), (4, 3)], 5),
            (vec![], vec![(1, 2)], 0),
        ] {
            let (leader, copy) = (Log(leader), Log(copy));
            let settled = settle(&leader, &copy);
            assert_eq!(settled.len(), kept, "{leader:?} {copy:?}");
            assert_eq!(settled, leader.records()[..kept], "{leader:?} {copy:?}");
        }
    }

    #[test]
    fn a_copy_before_the_leaders_first_record_begins_anew() {
        let placed = Placed { key: PartitionKey { topic: "t".into(), partition: 0 }, topic_id: Uuid::nil() };
        let follow =
            |position, last_epoch| Follow { spu: 2, placed: placed.clone(), epoch: 9, position, last_epoch };
        let facts = Facts { log_start: 50, leo: 90, epoch_before: None, end_of_epoch: None };
        for (position, last_epoch, expected) in [
            (0, None, Some(Fed::TooOld { log_start: 50 })),
            (50, None, None),
            (20, Some(1), Some(Fed::TooOld { log_start: 50 })),
            // It may have other records before the first that the leader can compare.
            (50, Some(1), Some(Fed::TooOld { log_start: 50 })),
        ] {
            assert_eq!(
                objection(&follow(position, last_epoch), &facts),
                expected,
                "{position} {last_epoch:?}"
            );
        }
    }

    #[test]
    fn a_copy_that_ends_where_the_leaders_log_begins_goes_on_in_the_same_epoch_and_is_cut_back_in_another() {
        let placed = Placed { key: PartitionKey { topic: "t".into(), partition: 0 }, topic_id: Uuid::nil() };
        let follow = Follow { spu: 2, placed, epoch: 9, position: 50, last_epoch: Some(1) };
        for (end_of_epoch, expected) in [
            (Some((1, 90)), None),
            (Some((1, 50)), None),
            (Some((0, 60)), Some(Fed::Diverged { epoch: 0, end: 50 })),
        ] {
            let facts = Facts { log_start: 50, leo: 90, epoch_before: None, end_of_epoch };
            assert_eq!(objection(&follow, &facts), expected, "{end_of_epoch:?}");
        }
    }
}
