use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::link::{ReplicaReport, ReplicaState};
use crate::sc::decide::Unwell;
use crate::sc::metadata::{Standing, Topic};
use crate::sc::topic::{Replicas, TopicOptions, TopicSpec};

const TOPIC: Uuid = Uuid::from_u128(7);

fn key() -> PartitionKey {
    PartitionKey { topic: "orders".into(), partition: 0 }
}

/// One partition on SPUs 1, 2 and 3, led by 1.
fn metadata(in_sync: &[i32]) -> Metadata {
    let spus: BTreeSet<i32> = in_sync.iter().copied().collect();
    let placed =
        Placement { in_sync: InSync { version: 5, spus }, epoch: 3, ..Placement::new(1, vec![1, 2, 3]) };
    let replicas = Replicas::Computed { partitions: 1, replication_factor: 3, ignore_rack: false };
    let spec = TopicSpec { replicas, options: TopicOptions::default() };
    let topic = Topic { id: TOPIC, spec, standing: Standing::Provisioned, partitions: [(0, placed)].into() };
    Metadata::default().with_topic("orders", topic)
}

fn world(online: &[i32], gone: &[i32]) -> World {
    let spus = (1..=3).map(|spu| (spu, online.contains(&spu))).collect();
    World { spus, gone: gone.iter().copied().collect(), partitions_limit: 10, ..World::default() }
}

fn placed(metadata: &Metadata) -> Placement {
    metadata.topics["orders"].partitions[&0].clone()
}

#[test]
fn who_leads_when_who_is_away() {
    // In sync before, online, gone; then epoch, leader, in sync after, or nothing.
    type Case<'a> = (&'a [i32], &'a [i32], &'a [i32], Option<(u32, i32, &'a [i32])>);
    let cases: &[Case<'_>] = &[
        (&[1, 2, 3], &[1, 2, 3], &[], None),
        // Nobody is elected before it is sure that the leader is away.
        (&[1, 2, 3], &[2, 3], &[], None),
        (&[1, 2, 3], &[2, 3], &[1], Some((4, 2, &[2, 3]))),
        // The last ones in sync stay so: 1 may be the only one left with everything.
        (&[1, 3], &[2, 3], &[1], Some((4, 3, &[1, 3]))),
        (&[1, 2, 3], &[3], &[1, 2], Some((4, 3, &[1, 2, 3]))),
        (&[1, 2], &[1], &[2], None),
        // Out of sync: it may lack committed records, so the partition waits.
        (&[1], &[2, 3], &[1], None),
        (&[1, 2], &[3], &[1, 2], None),
        // Not known to be away, but not there: it cannot lead.
        (&[1, 2, 3], &[3], &[1], Some((4, 3, &[2, 3]))),
        (&[1, 2], &[], &[1], None),
        // A follower that is away stops to count; the leader and its epoch stay.
        (&[1, 2, 3], &[1, 2], &[3], Some((3, 1, &[1, 2]))),
        (&[1, 2], &[1, 2], &[3], None),
    ];
    for (in_sync, online, gone, expected) in cases {
        let now = elect(&metadata(in_sync), &world(online, gone)).map(|next| placed(&next));
        let now = now.map(|now| (now.epoch, now.leader, now.in_sync.spus, now.in_sync.version));
        let expected = expected.map(|(epoch, leader, spus)| {
            let spus: BTreeSet<i32> = spus.iter().copied().collect();
            let changed = spus.len() != in_sync.len();
            (epoch, leader, spus, 5 + u32::from(changed))
        });
        assert_eq!(now, expected, "in sync {in_sync:?}, online {online:?}, gone {gone:?}");
    }
}

#[test]
fn an_election_is_one_change_and_a_second_one_changes_nothing() {
    let mut two = metadata(&[1, 2, 3]);
    let topic = Arc::make_mut(two.topics.get_mut("orders").unwrap());
    topic.partitions.insert(1, Placement::new(1, vec![1, 3, 2]));
    let world = world(&[2, 3], &[1]);
    let next = elect(&two, &world).unwrap();
    assert_eq!(next.revision, two.revision + 1);
    assert_eq!(next.topics["orders"].partitions[&1].leader, 3);
    assert_eq!(elect(&next, &world), None);
}

#[test]
fn a_set_is_changed_by_its_leader_on_the_ground_of_the_set_in_force() {
    let ask = |epoch, version, spus: &[i32]| {
        let wanted = InSync { version, spus: spus.iter().copied().collect() };
        InSyncAsked { key: key(), topic_id: TOPIC, epoch, wanted }
    };
    let cases = [
        (1, ask(3, 5, &[1, 2]), Ok(())),
        // The same again only ends a doubt.
        (1, ask(3, 5, &[1]), Ok(())),
        (1, ask(3, 4, &[1, 2]), Err(InSyncRefused::Outdated)),
        (1, ask(2, 5, &[1, 2]), Err(InSyncRefused::NotLeader)),
        (2, ask(3, 5, &[1, 2]), Err(InSyncRefused::NotLeader)),
        (1, ask(3, 5, &[2]), Err(InSyncRefused::Impossible)),
        (1, ask(3, 5, &[1, 9]), Err(InSyncRefused::Impossible)),
        // It is away, whatever the leader heard from it last.
        (1, ask(3, 5, &[1, 3]), Err(InSyncRefused::Impossible)),
        (1, InSyncAsked { topic_id: Uuid::nil(), ..ask(3, 5, &[1]) }, Err(InSyncRefused::Unknown)),
    ];
    for (asker, asked, expected) in cases {
        let outcome = change_in_sync(&metadata(&[1]), &world(&[1, 2], &[3]), asker, &asked);
        assert_eq!(outcome.as_ref().err().copied(), expected.err(), "{asked:?}");
        if let Ok(next) = outcome {
            let now = placed(&next);
            assert_eq!((now.epoch, now.in_sync.version), (3, 6));
            assert_eq!(now.in_sync.spus, asked.wanted.spus);
        }
    }
}

#[test]
fn an_spu_that_begins_anew_leads_in_a_new_epoch_and_counts_only_if_it_has_everything() {
    use Durability::{Disk, Memory};
    // In sync, online, who came, whether it holds the partition, durability; then epoch, leader, in sync, or nothing.
    type Case<'a> = (&'a [i32], &'a [i32], i32, bool, Durability, Option<(u32, i32, &'a [i32])>);
    let cases: &[Case<'_>] = &[
        (&[1, 2, 3], &[2, 3], 1, true, Disk, Some((4, 1, &[1, 2, 3]))),
        (&[1, 2, 3], &[1, 3], 2, true, Disk, None),
        (&[1, 2, 3], &[3], 1, true, Memory, Some((4, 3, &[2, 3]))),
        (&[1, 2, 3], &[1], 2, true, Memory, Some((3, 1, &[1, 3]))),
        // Everybody lost power: nobody is better.
        (&[1, 2, 3], &[], 1, true, Memory, Some((4, 1, &[1, 2, 3]))),
        (&[1, 2, 3], &[3], 1, false, Disk, Some((4, 3, &[2, 3]))),
        (&[1, 2, 3], &[], 1, false, Disk, Some((4, 2, &[2, 3]))),
        (&[1, 2, 3], &[], 3, false, Disk, Some((3, 1, &[1, 2]))),
        // There is no other: what is lost is lost, and the partition goes on.
        (&[1], &[2, 3], 1, false, Disk, Some((4, 1, &[1]))),
        // It counts no less than before, but what was asked for it before is void.
        (&[1, 2], &[1, 2], 3, false, Disk, Some((3, 1, &[1, 2]))),
    ];
    for (in_sync, online, spu, holds, durability, expected) in cases {
        let holds: BTreeSet<(Uuid, u32)> = holds.then_some((TOPIC, 0)).into_iter().collect();
        let came = Came { spu: *spu, fresh: true, holds: &holds, durability: *durability };
        let now = came_back(&metadata(in_sync), &world(online, &[]), &came).map(|next| placed(&next));
        let now = now.map(|now| (now.epoch, now.leader, now.in_sync.spus));
        let expected = expected.map(|(epoch, leader, spus)| (epoch, leader, spus.iter().copied().collect()));
        assert_eq!(now, expected, "{came:?}, in sync {in_sync:?}, online {online:?}");
    }
}

#[test]
fn whoever_was_there_all_the_time_leads_on_unless_it_has_nothing_of_the_partition() {
    for durability in [Durability::Disk, Durability::Memory] {
        for (holds, expected) in [(true, None), (false, Some((4, 2, BTreeSet::from([2, 3]))))] {
            let holds: BTreeSet<(Uuid, u32)> = holds.then_some((TOPIC, 0)).into_iter().collect();
            let came = Came { spu: 1, fresh: false, holds: &holds, durability };
            let now = came_back(&metadata(&[1, 2, 3]), &world(&[2, 3], &[]), &came).map(|next| placed(&next));
            assert_eq!(now.map(|now| (now.epoch, now.leader, now.in_sync.spus)), expected, "{came:?}");
        }
    }
}

#[test]
fn a_copy_that_lost_its_disk_is_not_let_in_by_what_was_asked_before() {
    let before = metadata(&[1, 2]);
    let wanted = InSync { version: 5, spus: [1, 2, 3].into() };
    let asked = InSyncAsked { key: key(), topic_id: TOPIC, epoch: 3, wanted };
    assert!(change_in_sync(&before, &world(&[1, 2, 3], &[]), 1, &asked).is_ok());
    let came = Came { spu: 3, fresh: true, holds: &BTreeSet::new(), durability: Durability::Disk };
    let anew = came_back(&before, &world(&[1, 2], &[]), &came).unwrap();
    let outcome = change_in_sync(&anew, &world(&[1, 2, 3], &[]), 1, &asked);
    assert_eq!(outcome, Err(InSyncRefused::Outdated));
}

#[test]
fn what_has_one_copy_only_stays_as_it_is_when_its_spu_begins_anew() {
    let mut one = metadata(&[1]);
    let topic = Arc::make_mut(one.topics.get_mut("orders").unwrap());
    topic.partitions.insert(0, Placement::new(1, vec![1]));
    let holds = BTreeSet::new();
    let came = Came { spu: 1, fresh: true, holds: &holds, durability: Durability::Disk };
    assert_eq!(came_back(&one, &world(&[1], &[]), &came), None);
}

#[test]
fn the_last_copies_that_can_commit_are_never_asked_out() {
    let wanted = InSync { version: 5, spus: [1].into() };
    let asked = InSyncAsked { key: key(), topic_id: TOPIC, epoch: 3, wanted };
    let world = world(&[1, 2], &[3]);
    assert_eq!(change_in_sync(&metadata(&[1, 2]), &world, 1, &asked), Err(InSyncRefused::Impossible));
    let swapped = InSyncAsked { wanted: InSync { version: 5, spus: [1, 2].into() }, ..asked };
    assert!(change_in_sync(&metadata(&[1, 3]), &world, 1, &swapped).is_ok(), "another may take its place");
}

/// What the SPUs say of their copies, the leader's being of the epoch in force.
fn unwell(metadata: &Metadata, failed: &[i32], lost_lead: bool) -> Unwell {
    let report = |spu: i32| ReplicaReport {
        key: key(),
        topic_id: TOPIC,
        epoch: 3,
        state: if failed.contains(&spu) { ReplicaState::Failed } else { ReplicaState::Online },
        base_offset: 0,
        high_watermark: 0,
        log_end: 0,
        size: 0,
        durable: None,
        damaged: 0,
        lost_lead: lost_lead && spu == 1,
    };
    Unwell::of(metadata, &(1..=3).map(|spu| ((key(), spu), report(spu))).collect())
}

#[test]
fn a_copy_whose_disk_failed_leads_only_where_no_other_can() {
    // In sync, online, gone, failed, whether 1 cannot lead on; then epoch and leader, or nothing.
    type Case<'a> = (&'a [i32], &'a [i32], &'a [i32], &'a [i32], bool, Option<(u32, i32)>);
    let cases: &[Case<'_>] = &[
        (&[1, 2, 3], &[1, 2, 3], &[], &[1], false, Some((4, 2))),
        (&[1, 2, 3], &[1, 2, 3], &[], &[1, 2], false, Some((4, 3))),
        (&[1, 2, 3], &[1, 2, 3], &[], &[1, 2, 3], false, None),
        (&[1, 2, 3], &[1, 3], &[], &[1], false, Some((4, 3))),
        // Out of sync: it may lack committed records.
        (&[1], &[1, 2, 3], &[], &[1], false, None),
        (&[1, 2, 3], &[1, 2, 3], &[], &[2, 3], false, None),
        // It has every committed record, so it may lead on, only not in this epoch.
        (&[1, 2, 3], &[1, 2, 3], &[], &[], true, Some((4, 1))),
        (&[1], &[1, 2, 3], &[], &[], true, Some((4, 1))),
        (&[1, 2, 3], &[1, 2, 3], &[], &[1], true, Some((4, 2))),
        (&[1, 2, 3], &[2, 3], &[], &[], true, Some((4, 2))),
        (&[1, 2, 3], &[], &[], &[], true, None),
        // Where the leader is away, one that takes records is better than one that is only read.
        (&[1, 2, 3], &[2, 3], &[1], &[2], false, Some((4, 3))),
        (&[1, 2, 3], &[2, 3], &[1], &[2, 3], false, Some((4, 2))),
    ];
    for (in_sync, online, gone, failed, lost_lead, expected) in cases {
        let metadata = metadata(in_sync);
        let world = World { unwell: unwell(&metadata, failed, *lost_lead), ..world(online, gone) };
        let now = elect(&metadata, &world).map(|next| placed(&next)).map(|now| (now.epoch, now.leader));
        assert_eq!(
            now, *expected,
            "in sync {in_sync:?}, online {online:?}, gone {gone:?}, failed {failed:?}"
        );
    }
}

#[test]
fn what_was_said_of_an_earlier_epoch_starts_no_election() {
    let mut later = metadata(&[1, 2, 3]);
    let placed = Placement { epoch: 4, ..placed(&later) };
    Arc::make_mut(later.topics.get_mut("orders").unwrap()).partitions.insert(0, placed);
    let world = World { unwell: unwell(&later, &[], true), ..world(&[1, 2, 3], &[]) };
    assert_eq!(elect(&later, &world), None);
}
