use std::collections::BTreeMap;

use uuid::Uuid;

use super::*;
use crate::link::{PartitionKey, ReplicaReport, ReplicaState};
use crate::sc::decide::Unwell;
use crate::sc::metadata::Standing;
use crate::sc::topic::{CONSUMER_OFFSETS, TopicOptions, TopicSpec};

fn topic(placements: Vec<Placement>) -> Topic {
    let factor = placements.first().map_or(1, |placed| placed.factor);
    let partitions = u32::try_from(placements.len()).unwrap();
    let replication_factor = u32::try_from(factor).unwrap();
    let replicas = Replicas::Computed { partitions, replication_factor, ignore_rack: false };
    let spec = TopicSpec { replicas, options: TopicOptions::default() };
    let partitions = (0..).zip(placements).collect();
    Topic { id: Uuid::from_u128(7), spec, standing: Standing::Provisioned, partitions }
}

fn orders(placements: Vec<Placement>) -> Metadata {
    Metadata::default().with_topic("orders", topic(placements))
}

fn on(replicas: &[i32]) -> Placement {
    Placement::new(replicas[0], replicas.to_vec())
}

/// All SPUs are there, these are about to leave.
fn world(spus: std::ops::RangeInclusive<i32>, leaving: &[i32]) -> World {
    World {
        spus: spus.map(|spu| (spu, true)).collect(),
        leaving: leaving.iter().copied().collect(),
        calm: true,
        partitions_limit: 100,
        ..World::default()
    }
}

fn placed(metadata: &Metadata, index: u32) -> &Placement {
    &metadata.topics["orders"].partitions[&index]
}

/// Everybody with a copy catches up, and steps are taken until there is none left.
fn settled(mut metadata: Metadata, world: &World) -> Metadata {
    for _ in 0..1_000 {
        let caught_up = metadata.with_placements(|_, _, placed| {
            let all: BTreeSet<i32> = placed.replicas.iter().copied().collect();
            let in_sync = InSync { version: placed.in_sync.version + 1, spus: all };
            (in_sync.spus != placed.in_sync.spus).then(|| Placement { in_sync, ..placed.clone() })
        });
        match move_copies(&metadata, world).or(caught_up) {
            Some(next) => metadata = next,
            None => return metadata,
        }
    }
    panic!("it never ends: {metadata:?}");
}

#[test]
fn a_copy_moves_by_being_added_first_and_taken_away_when_the_new_one_is_in_sync() {
    let before = orders(vec![on(&[1, 2, 3])]);
    let world = world(1..=4, &[1]);
    let begun = move_copies(&before, &world).unwrap();
    let now = placed(&begun, 0);
    assert_eq!((&now.replicas, &now.moving_to), (&vec![1, 2, 3, 4], &vec![2, 3, 4]));
    assert_eq!((now.epoch, now.leader, now.factor), (0, 1, 3), "the leader leads on");
    assert_eq!(now.in_sync.spus, [1, 2, 3].into());
    assert_eq!(move_copies(&begun, &world), None, "4 has not caught up");

    let ended = settled(begun, &world);
    let now = placed(&ended, 0);
    assert_eq!((&now.replicas, now.leader, now.epoch), (&vec![2, 3, 4], 2, 1));
    assert_eq!((&now.in_sync.spus, &now.dropped), (&[2, 3, 4].into(), &[1].into()));
    assert!(now.moving_to.is_empty());
}

#[test]
fn the_only_copy_moves_likewise() {
    let before = orders(vec![on(&[2])]);
    let begun = move_copies(&before, &world(1..=2, &[2])).unwrap();
    assert_eq!((placed(&begun, 0).least_in_sync(), placed(&begun, 0).leader), (1, 2));
    let ended = settled(begun, &world(1..=2, &[2]));
    assert_eq!((&placed(&ended, 0).replicas, placed(&ended, 0).leader), (&vec![1], 1));
}

#[test]
fn nothing_moves_where_there_is_no_room() {
    for spus in [1..=3, 1..=2] {
        assert_eq!(move_copies(&orders(vec![on(&[1, 2, 3])]), &world(spus, &[3])), None);
    }
}

/// As [`world`], and these SPUs are away for good.
fn without(spus: std::ops::RangeInclusive<i32>, lost: &[i32]) -> World {
    let lost: BTreeSet<i32> = lost.iter().copied().collect();
    let all = world(spus, &[]);
    let there = all.spus.iter().map(|(spu, _)| (*spu, !lost.contains(spu))).collect();
    World { spus: there, gone: lost.clone(), lost, ..all }
}

fn in_sync(placed: Placement, spus: &[i32]) -> Placement {
    Placement { in_sync: InSync { version: 1, spus: spus.iter().copied().collect() }, ..placed }
}

#[test]
fn what_a_lost_spu_had_is_made_again_where_somebody_is_left_who_has_it() {
    for (replicas, left, leader, expected) in [
        (&[1, 2, 3][..], &[2, 3][..], 2, Some(vec![2, 3, 4])),
        // Two copies, and the lost one still counts, since one alone commits nothing.
        (&[1, 2], &[1, 2], 2, Some(vec![2, 3])),
        (&[1], &[1], 1, None),
        (&[2, 3, 4], &[2, 3, 4], 2, None),
        // Its last leader was lost, and nobody else was in sync.
        (&[1, 2], &[1], 1, None),
    ] {
        let placed_so = in_sync(Placement { leader, ..on(replicas) }, left);
        let next = move_copies(&orders(vec![placed_so]), &without(1..=4, &[1]));
        assert_eq!(next.map(|next| placed(&next, 0).moving_to.clone()), expected, "{replicas:?} {left:?}");
    }
    let merely_away = World { lost: BTreeSet::new(), ..without(1..=4, &[1]) };
    let waits = in_sync(Placement { leader: 2, ..on(&[1, 2, 3]) }, &[2, 3]);
    assert_eq!(move_copies(&orders(vec![waits]), &merely_away), None);
}

#[test]
fn what_only_a_lost_spu_has_holds_no_other_move_up() {
    let stuck = || Placement { moving_to: vec![2], replicas: vec![1, 2], ..in_sync(on(&[1]), &[1]) };
    let moves = in_sync(Placement { leader: 2, ..on(&[1, 2, 3]) }, &[2, 3]);
    let metadata = orders(vec![stuck(), stuck(), stuck(), stuck(), moves]);
    let next = move_copies(&metadata, &without(1..=4, &[1])).unwrap();
    assert_eq!(placed(&next, 4).moving_to, vec![2, 3, 4]);
    assert_eq!(placed(&next, 0), placed(&metadata, 0));
}

#[test]
fn nothing_moves_while_an_spu_is_there_that_does_not_know_how() {
    let fixed = World { fixed: true, ..world(1..=4, &[1]) };
    assert_eq!(move_copies(&orders(vec![on(&[1, 2, 3])]), &fixed), None);
}

#[test]
fn a_move_whose_goal_is_about_to_leave_too_gets_another() {
    let begun = move_copies(&orders(vec![on(&[1, 2, 3])]), &world(1..=5, &[1])).unwrap();
    let again = move_copies(&begun, &world(1..=5, &[1, 4])).unwrap();
    assert_eq!(placed(&again, 0).moving_to, vec![2, 3, 5]);
    let ended = settled(again, &world(1..=5, &[1, 4]));
    assert_eq!(placed(&ended, 0).replicas, vec![2, 3, 5]);
    assert_eq!(placed(&ended, 0).dropped, [1, 4].into());
    let back = settled(ended, &world(1..=5, &[2]));
    assert!(!placed(&back, 0).replicas.contains(&2));
    assert!(!placed(&back, 0).dropped.iter().any(|spu| placed(&back, 0).replicas.contains(spu)));
}

/// This SPU says that its copy of the first partition takes nothing.
fn failed(metadata: &Metadata, spu: i32) -> Unwell {
    let key = PartitionKey { topic: "orders".into(), partition: 0 };
    let report = ReplicaReport {
        key: key.clone(),
        topic_id: metadata.topics["orders"].id,
        epoch: 0,
        state: ReplicaState::Failed,
        base_offset: 0,
        high_watermark: 0,
        log_end: 0,
        size: 0,
        durable: None,
        damaged: 0,
        lost_lead: false,
    };
    Unwell::of(metadata, &[((key, spu), report)].into())
}

#[test]
fn an_spu_that_stays_gets_the_lead_back_once_it_is_calm() {
    let led_by_2 = Placement { leader: 2, epoch: 4, ..on(&[1, 2, 3]) };
    let metadata = orders(vec![led_by_2.clone()]);
    let restless = World { calm: false, ..world(1..=3, &[]) };
    assert_eq!(move_copies(&metadata, &restless), None);
    let away = World { gone: [1].into(), spus: vec![(1, false), (2, true), (3, true)], ..world(1..=3, &[]) };
    assert_eq!(move_copies(&metadata, &away), None);
    let lags = Placement { in_sync: InSync { version: 3, spus: [2, 3].into() }, ..led_by_2 };
    assert_eq!(move_copies(&orders(vec![lags]), &world(1..=3, &[])), None);
    let broken = World { unwell: failed(&metadata, 1), ..world(1..=3, &[]) };
    assert_eq!(move_copies(&metadata, &broken), None, "its disk would only fail once more");
    let back = move_copies(&metadata, &world(1..=3, &[])).unwrap();
    assert_eq!((placed(&back, 0).leader, placed(&back, 0).epoch), (1, 5));
    assert_eq!(move_copies(&back, &world(1..=3, &[])), None);
}

#[test]
fn an_spu_that_came_gets_its_share_one_copy_at_a_time() {
    let metadata = orders(vec![on(&[1]), on(&[1]), on(&[1]), on(&[1])]);
    let world = world(1..=2, &[]);
    let first = move_copies(&metadata, &world).unwrap();
    let moving = first.placements().filter(|placed| !placed.moving_to.is_empty()).count();
    assert_eq!(moving, 1);
    let shared = settled(first, &world);
    let mut carried: BTreeMap<i32, usize> = BTreeMap::new();
    for placed in shared.placements() {
        assert_eq!(placed.replicas.len(), 1);
        *carried.entry(placed.leader).or_default() += 1;
    }
    assert_eq!(carried, [(1, 2), (2, 2)].into());
    let away = World { spus: vec![(1, true), (2, false)], ..world };
    assert_eq!(move_copies(&metadata, &away), None, "nothing moves onto an SPU that is away");
}

#[test]
fn copies_do_not_move_together_into_one_rack_for_the_sake_of_their_number() {
    // 3 carries three copies and 2 none, but 2 shares the rack of 1, where the other copies are.
    let metadata = orders(vec![on(&[1, 3]), on(&[1, 3]), on(&[1, 3])]);
    let rack = |name: &str| name.to_owned();
    let racks = BTreeMap::from([(1, rack("a")), (2, rack("a")), (3, rack("b"))]);
    let moved = settled(metadata, &World { racks, ..world(1..=3, &[]) });
    for placed in moved.placements() {
        assert!(placed.replicas.contains(&3), "{placed:?}");
    }
}

#[test]
fn what_a_client_placed_stays_where_it_is_unless_its_spu_leaves() {
    let mut placed_by_hand = topic(vec![on(&[1]), on(&[1]), on(&[1])]);
    placed_by_hand.spec.replicas = Replicas::Assigned(vec![vec![1], vec![1], vec![1]]);
    let metadata = Metadata::default().with_topic("orders", placed_by_hand);
    assert_eq!(move_copies(&metadata, &world(1..=2, &[])), None);
    let moved = settled(metadata, &world(1..=2, &[1]));
    assert!(moved.placements().all(|placed| placed.replicas == [2]));
}

#[test]
fn only_so_many_partitions_move_at_a_time() {
    let metadata = orders(vec![on(&[1]); 10]);
    let world = world(1..=2, &[1]);
    let begun = move_copies(&metadata, &world).unwrap();
    let moving =
        |metadata: &Metadata| metadata.placements().filter(|placed| placed.replicas.len() > 1).count();
    assert_eq!(moving(&begun), AT_ONCE);
    assert_eq!(move_copies(&begun, &world), None);
    assert!(settled(begun, &world).placements().all(|placed| placed.replicas == [2]));
}

#[test]
fn the_consumers_offsets_have_three_copies_where_there_are_spus_for_them() {
    let mut system = topic(vec![on(&[1])]);
    system.spec.options.system = true;
    let metadata = Metadata::default().with_topic(CONSUMER_OFFSETS, system);
    let copies = |metadata: &Metadata| {
        let placed = &metadata.topics[CONSUMER_OFFSETS].partitions[&0];
        (placed.replicas.clone(), placed.factor, placed.leader)
    };
    assert_eq!(move_copies(&metadata, &world(1..=1, &[])), None);
    let two = settled(metadata, &world(1..=2, &[]));
    assert_eq!(copies(&two), (vec![1, 2], 2, 1));
    let three = settled(two, &world(1..=5, &[]));
    assert_eq!(copies(&three), (vec![1, 2, 3], 3, 1));
    let one = settled(three, &world(1..=3, &[2, 3]));
    assert_eq!(copies(&one), (vec![1], 1, 1));
}

#[test]
fn a_goal_that_stays_away_is_given_up_for_another() {
    let begun = move_copies(&orders(vec![on(&[1, 2, 3])]), &world(1..=5, &[1])).unwrap();
    let mut away = World { gone: [4].into(), ..world(1..=5, &[1]) };
    away.spus[3].1 = false;
    assert_eq!(move_copies(&begun, &World { calm: false, ..away.clone() }), None, "it may be back at once");
    let again = move_copies(&begun, &away).unwrap();
    assert_eq!(placed(&again, 0).moving_to, vec![2, 3, 5]);
}

#[test]
fn a_topic_is_deleted_on_the_spus_that_dropped_their_copies_too() {
    let moved = settled(orders(vec![on(&[1, 2, 3])]), &world(1..=4, &[1]));
    let deleted = super::super::delete_topic(&moved, "orders", false).unwrap();
    assert_eq!(deleted.retired[&Uuid::from_u128(7)], [1, 2, 3, 4].into());
    let gone = super::super::without(&moved, &[(1, "main-0")]).unwrap().unwrap();
    assert!(placed(&gone, 0).dropped.is_empty(), "nobody waits for an SPU that is no more");
}
