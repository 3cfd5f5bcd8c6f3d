//! Epochs that are over for the copies of this SPU, whatever the SC says: in them it may have given others what it has
//! lost since, as its process began anew, or its log was opened again after its disk had failed. It leads on in a later
//! epoch only, in which others compare what they have with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::whole::CopyId;
use crate::link::Assignment;

/// The last such epoch of each copy.
#[derive(Debug)]
pub(super) struct Bygone(Mutex<BTreeMap<CopyId, u32>>);

impl Bygone {
    /// For a process that begins with these.
    pub(super) fn of<'a>(kept: impl IntoIterator<Item = &'a Assignment>) -> Self {
        Self(Mutex::new(kept.into_iter().map(|kept| (copy(kept), kept.epoch)).collect()))
    }

    /// The log of this one is not what it was.
    pub(super) fn add(&self, assignment: &Assignment) {
        let mut last = self.lock();
        let last = last.entry(copy(assignment)).or_default();
        // Who tells it may have looked before the SC's last word.
        *last = assignment.epoch.max(*last);
    }

    /// Whether the SPU may lead it in its epoch. What nobody else has a copy of, nobody can have more of.
    pub(super) fn may_lead(&self, assignment: &Assignment) -> bool {
        let over = self.lock().get(&copy(assignment)).is_some_and(|epoch| assignment.epoch <= *epoch);
        assignment.replicas.len() == 1 || !over
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CopyId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy(assignment: &Assignment) -> CopyId {
    (assignment.topic_id, assignment.key.partition)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::link::PartitionKey;
    use crate::sc::topic::TopicOptions;

    fn told(topic_id: u128, epoch: u32, n_copies: i32) -> Assignment {
        Assignment {
            key: PartitionKey { topic: "orders".into(), partition: 0 },
            topic_id: Uuid::from_u128(topic_id),
            epoch,
            leader: 1,
            replicas: (1..=n_copies).collect(),
            in_sync: Default::default(),
            factor: 3,
            placed_by_client: false,
            options: TopicOptions::default(),
        }
    }

    #[test]
    fn a_copy_leads_in_epochs_after_those_in_which_it_may_have_lost_something() {
        let bygone = Bygone::of(&[told(1, 5, 3)]);
        for (assignment, leads) in [
            (told(1, 4, 3), false),
            (told(1, 5, 3), false),
            (told(1, 6, 3), true),
            // Nobody else has a copy.
            (told(1, 5, 1), true),
            // Another topic of that name.
            (told(2, 0, 3), true),
        ] {
            assert_eq!(bygone.may_lead(&assignment), leads, "{assignment:?}");
        }
        bygone.add(&told(1, 6, 3));
        assert!(!bygone.may_lead(&told(1, 6, 3)));
        bygone.add(&told(1, 5, 3));
        assert!(!bygone.may_lead(&told(1, 6, 3)));
        assert!(bygone.may_lead(&told(1, 7, 3)));
    }
}
