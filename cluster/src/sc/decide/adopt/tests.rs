use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::link::PartitionKey;

/// A copy on SPUs 1 to 3 as one of them kept it.
fn held(epoch: u32, leader: i32, in_sync: &[i32]) -> Assignment {
    Assignment {
        key: PartitionKey { topic: "orders".into(), partition: 0 },
        topic_id: Uuid::from_u128(7),
        epoch,
        leader,
        replicas: vec![1, 2, 3],
        in_sync: InSync { version: epoch, spus: in_sync.iter().copied().collect() },
        factor: 3,
        placed_by_client: false,
        options: Default::default(),
    }
}

/// What an SC without a disk makes of these words.
fn adopted(words: &[Assignment]) -> Metadata {
    let gathered = words.iter().fold(Metadata::default(), |metadata, held| {
        adopt(&metadata, std::slice::from_ref(held)).unwrap_or(metadata)
    });
    fenced(&Metadata::default(), &gathered, 1)
}

#[test]
fn the_latest_epoch_that_any_spu_was_told_of_counts_whoever_comes_first() {
    let (early, late) = (held(3, 1, &[1, 2, 3]), held(5, 2, &[2, 3]));
    for words in [[early.clone(), late.clone()], [late, early]] {
        let metadata = adopted(&words);
        let placed = &metadata.topics["orders"].partitions[&0];
        assert_eq!((placed.epoch, placed.leader), (6, 2), "{words:?}");
        assert_eq!(placed.in_sync.spus, BTreeSet::from([2, 3]));
    }
    // The epoch given to what came first must not hide that another was later.
    let close = [held(3, 1, &[1, 2, 3]), held(4, 2, &[2, 3])];
    let metadata = adopted(&close);
    assert_eq!(metadata.topics["orders"].partitions[&0].leader, 2);
}

#[test]
fn within_an_epoch_the_latest_set_in_sync_counts_whoever_comes_first() {
    let early = held(3, 1, &[1, 2, 3]);
    let late = Assignment { in_sync: InSync { version: 9, spus: [1, 2].into() }, ..early.clone() };
    for words in [[early.clone(), late.clone()], [late, early]] {
        let metadata = adopted(&words);
        let placed = &metadata.topics["orders"].partitions[&0];
        assert_eq!((placed.epoch, &placed.in_sync.spus), (4, &BTreeSet::from([1, 2])), "{words:?}");
    }
}

#[test]
fn what_was_known_before_is_not_fenced() {
    let before = adopted(&[held(5, 2, &[2, 3])]);
    let other =
        Assignment { key: PartitionKey { partition: 1, ..held(5, 2, &[]).key }, ..held(5, 2, &[2, 3]) };
    let metadata = fenced(&before, &adopt(&before, &[other]).unwrap(), 1);
    assert_eq!(metadata.topics["orders"].partitions[&0], before.topics["orders"].partitions[&0]);
    assert_eq!(metadata.topics["orders"].partitions[&1].epoch, 6);
}

#[test]
fn what_the_metadata_knows_better_stays() {
    let metadata = adopted(&[held(5, 2, &[2, 3])]);
    let known = assignment_of(&metadata);
    for word in [held(3, 1, &[1, 2, 3]), held(5, 2, &[2, 3]), known] {
        assert_eq!(adopt(&metadata, std::slice::from_ref(&word)), None, "{word:?}");
    }
}

fn assignment_of(metadata: &Metadata) -> Assignment {
    crate::link::assignments(1, metadata).into_values().next().unwrap()
}
