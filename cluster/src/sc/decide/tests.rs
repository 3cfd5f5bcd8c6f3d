use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::link::{Assignment, PartitionKey, assignments};
use crate::sc::Refusal;
use crate::sc::metadata::{Metadata, Standing};
use crate::sc::topic::{CONSUMER_OFFSETS, Replicas, TopicOptions, TopicSpec};

fn world(spus: &[(i32, bool)]) -> World {
    World { spus: spus.to_vec(), partitions_limit: 100, ..World::default() }
}

fn three() -> World {
    world(&[(5001, true), (5002, true), (5003, true)])
}

fn computed(partitions: u32, replication_factor: u32) -> TopicSpec {
    let replicas = Replicas::Computed { partitions, replication_factor, ignore_rack: false };
    TopicSpec { replicas, options: TopicOptions::default() }
}

fn assigned(map: &[&[i32]]) -> TopicSpec {
    let replicas = Replicas::Assigned(map.iter().map(|spus| spus.to_vec()).collect());
    TopicSpec { replicas, options: TopicOptions::default() }
}

fn new(name: &str, spec: TopicSpec) -> NewTopic {
    NewTopic { name: Ok(name.into()), spec: Ok(spec), id: Uuid::new_v4() }
}

fn made(topics: &[(&str, TopicSpec)], world: &World) -> Metadata {
    topics.iter().fold(Metadata::default(), |metadata, (name, spec)| {
        create_topic(&metadata, world, new(name, spec.clone())).unwrap()
    })
}

fn leaders(metadata: &Metadata, topic: &str) -> Vec<i32> {
    metadata.topics[topic].partitions.values().map(|placed| placed.leader).collect()
}

#[test]
fn the_first_check_that_fails_is_the_answer() {
    let metadata = made(&[("taken", computed(1, 1))], &three());
    let bad_name = Err(Refusal::InvalidName("bad name".into()));
    let bad_spec = Err(Refusal::InvalidConfiguration("bad spec".into()));
    let id = Uuid::nil();
    for (name, spec, expected) in [
        (bad_name.clone(), bad_spec.clone(), Refusal::InvalidName("bad name".into())),
        (Ok("taken".into()), bad_spec.clone(), Refusal::AlreadyExists("taken".into())),
        (Ok("free".into()), bad_spec, Refusal::InvalidConfiguration("bad spec".into())),
    ] {
        assert_eq!(create_topic(&metadata, &three(), NewTopic { name, spec, id }), Err(expected));
    }
    let over = create_topic(&metadata, &three(), new("free", computed(100, 1)));
    assert!(matches!(over, Err(Refusal::Topic(reason)) if reason.contains("limit of 100")));
    assert!(create_topic(&metadata, &three(), new("free", computed(99, 1))).is_ok());
}

#[test]
fn partitions_go_where_the_fewest_are_led() {
    let metadata = made(&[("a", computed(4, 1)), ("b", computed(3, 1)), ("c", computed(1, 1))], &three());
    assert_eq!(leaders(&metadata, "a"), [5001, 5002, 5003, 5001]);
    assert_eq!(leaders(&metadata, "b"), [5002, 5003, 5001]);
    assert_eq!(leaders(&metadata, "c"), [5002]);
    let again = made(&[("a", computed(4, 1)), ("b", computed(3, 1)), ("c", computed(1, 1))], &three());
    for topic in ["a", "b", "c"] {
        assert_eq!(leaders(&again, topic), leaders(&metadata, topic));
    }
}

#[test]
fn a_topic_without_a_place_exists_and_says_why() {
    for (spec, world, expected) in [
        (
            computed(1, 1),
            world(&[]),
            Standing::Waiting("replication factor 1 needs 1 SPUs, the cluster has 0".into()),
        ),
        (computed(1, 1), world(&[(5001, false)]), Standing::Waiting("waiting for live spus".into())),
        (
            computed(1, 4),
            three(),
            Standing::Waiting("replication factor 4 needs 4 SPUs, the cluster has 3".into()),
        ),
        (assigned(&[&[5001], &[7]]), three(), Standing::Invalid("the cluster has no SPU with id 7".into())),
        (assigned(&[&[5003], &[5001]]), three(), Standing::Provisioned),
        // Placed by hand, an SPU need not be there at the moment.
        (assigned(&[&[5001]]), world(&[(5001, false)]), Standing::Provisioned),
        (computed(3, 1), world(&[(5001, false), (5002, true)]), Standing::Provisioned),
    ] {
        let metadata = made(&[("t", spec.clone())], &world);
        assert_eq!(metadata.topics["t"].standing, expected, "{spec:?} in {world:?}");
    }
}

#[test]
fn copies_go_to_different_spus_and_racks_and_each_leads_its_share() {
    let spread = made(&[("t", computed(6, 2))], &three());
    let placed: Vec<_> = spread.topics["t"].partitions.values().cloned().collect();
    for spu in [5001, 5002, 5003] {
        assert_eq!(placed.iter().filter(|placed| placed.leader == spu).count(), 2, "{spu} leads");
        assert_eq!(placed.iter().filter(|placed| placed.replicas.contains(&spu)).count(), 4, "{spu} keeps");
    }
    for placed in &placed {
        assert_eq!(placed.in_sync.spus, placed.replicas.iter().copied().collect());
        assert!(placed.replicas[0] == placed.leader && placed.replicas[1] != placed.leader);
    }
    let racks = [(5001, "a"), (5002, "a"), (5003, "b")].map(|(spu, rack)| (spu, rack.to_owned()));
    let two_racks = World { racks: racks.into(), ..three() };
    let apart = made(&[("t", computed(4, 2))], &two_racks);
    for placed in apart.topics["t"].partitions.values() {
        assert!(placed.replicas.contains(&5003), "one copy in each rack: {:?}", placed.replicas);
    }
    let one_is_away = world(&[(5001, true), (5002, true), (5003, false)]);
    let waits = made(&[("t", computed(1, 3))], &one_is_away);
    assert_eq!(waits.topics["t"].standing, Standing::Waiting("waiting for live spus".into()));
}

#[test]
fn a_waiting_topic_gets_its_place_when_there_is_one() {
    let nobody = world(&[(5001, false)]);
    let metadata = made(&[("a", computed(2, 1)), ("b", assigned(&[&[5002]]))], &nobody);
    assert_eq!(provision(&metadata, &nobody), None);
    let settled = provision(&metadata, &world(&[(5001, true), (5002, true)])).unwrap();
    assert_eq!(leaders(&settled, "a"), [5001, 5002]);
    assert_eq!(leaders(&settled, "b"), [5002]);
    assert_eq!(settled.revision, metadata.revision + 1);
    assert_eq!(provision(&settled, &nobody), None, "a placed topic stays where it is");
}

#[test]
fn a_deleted_topic_is_remembered_until_its_spus_have_removed_it() {
    let metadata = made(&[("t", computed(2, 1))], &three());
    let id = metadata.topics["t"].id;
    assert_eq!(delete_topic(&metadata, "x", true), Err(Refusal::NotFound("x".into())));
    let deleted = delete_topic(&metadata, "t", false).unwrap();
    assert!(deleted.topics.is_empty());
    assert_eq!(deleted.retired[&id], BTreeSet::from([5001, 5002]));
    let gone = BTreeSet::from([id]);
    let half = confirm_retired(&deleted, 5001, &gone).unwrap();
    assert_eq!(half.retired[&id], BTreeSet::from([5002]));
    assert_eq!(confirm_retired(&half, 5003, &gone), None);
    assert!(confirm_retired(&half, 5002, &gone).unwrap().retired.is_empty());
}

#[test]
fn the_system_topic_is_made_by_the_sc_and_deleted_by_force_only() {
    let metadata = ensure_consumer_offsets(&Metadata::default(), &three(), Uuid::nil()).unwrap();
    assert_eq!(leaders(&metadata, CONSUMER_OFFSETS), [5001]);
    assert_eq!(metadata.n_partitions(), 0);
    assert_eq!(ensure_consumer_offsets(&metadata, &three(), Uuid::nil()), None);
    assert_eq!(
        delete_topic(&metadata, CONSUMER_OFFSETS, false),
        Err(Refusal::SystemDeletion(CONSUMER_OFFSETS.into()))
    );
    assert!(delete_topic(&metadata, CONSUMER_OFFSETS, true).unwrap().topics.is_empty());
    let spec = &metadata.topics[CONSUMER_OFFSETS].spec;
    assert_eq!(spec.options.retention_seconds, Some(604_800));
    assert_eq!(spec.options.retention_in_force(), None);
}

#[test]
fn partitions_are_added_to_computed_topics_only() {
    let start = made(&[("c", computed(1, 1)), ("a", assigned(&[&[5001]]))], &three());
    let start = ensure_consumer_offsets(&start, &three(), Uuid::nil()).unwrap();
    let more = add_partitions(&start, &three(), "c", 2).unwrap();
    assert_eq!(more.topics["c"].spec.replicas.partitions(), 3);
    assert_eq!(leaders(&more, "c").len(), 3);
    assert_eq!(leaders(&more, "c")[0], leaders(&start, "c")[0], "the first stays where it was");
    for (name, count, expected) in [
        ("x", 1, "not found"),
        ("a", 1, "placed by hand"),
        (CONSUMER_OFFSETS, 1, "cannot be changed"),
        ("c", 0, "greater than 0"),
        ("c", 99, "limit of 100"),
        ("c", u32::MAX, "limit of 100"),
    ] {
        let refusal = add_partitions(&start, &three(), name, count).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{name} + {count}: {refusal}");
    }
}

#[test]
fn an_sc_that_lost_its_disk_is_rebuilt_from_its_spus() {
    let lost = made(&[("a", computed(3, 1)), ("b", assigned(&[&[5002], &[5001]]))], &three());
    let mut rebuilt = Metadata::default();
    for spu in [5002, 5001, 5003] {
        let held: Vec<Assignment> = assignments(spu, &lost).into_values().collect();
        rebuilt = adopt(&rebuilt, &held).unwrap();
        assert_eq!(adopt(&rebuilt, &held), None, "the same again is no news");
    }
    let rebuilt = fenced(&Metadata::default(), &rebuilt, 1);
    for name in ["a", "b"] {
        assert_eq!(rebuilt.topics[name].id, lost.topics[name].id);
        assert_eq!(rebuilt.topics[name].spec, lost.topics[name].spec);
        assert_eq!(leaders(&rebuilt, name), leaders(&lost, name));
        assert!(rebuilt.topics[name].partitions.values().all(|placed| placed.epoch == 1));
    }
}

#[test]
fn what_was_deleted_does_not_come_back_from_an_spu_that_was_away() {
    let metadata = made(&[("t", computed(1, 1))], &three());
    let held: Vec<Assignment> = assignments(5001, &metadata).into_values().collect();
    let deleted = delete_topic(&metadata, "t", false).unwrap();
    assert_eq!(adopt(&deleted, &held), None);
    let again = create_topic(&deleted, &three(), new("t", computed(1, 1))).unwrap();
    assert_eq!(adopt(&again, &held), None, "another incarnation has the name now");
    assert_eq!(held[0].key, PartitionKey { topic: "t".into(), partition: 0 });
}

#[test]
fn an_spu_that_leaves_gets_nothing_new_and_keeps_what_it_has() {
    let before = made(&[("a", computed(3, 1))], &three());
    let leaving = World { leaving: BTreeSet::from([5003]), ..three() };
    let grown = add_partitions(&before, &leaving, "a", 3).unwrap();
    assert_eq!(leaders(&grown, "a"), [5001, 5002, 5003, 5001, 5002, 5001]);
    let chosen = create_topic(&before, &leaving, new("chosen", assigned(&[&[5003]]))).unwrap();
    assert_eq!(
        chosen.topics["chosen"].standing,
        Standing::Waiting("the SPU with id 5003 is about to leave the cluster".into())
    );
    assert_eq!(leaders(&provision(&chosen, &three()).unwrap(), "chosen"), [5003], "it stays after all");
    let last = World { leaving: BTreeSet::from([5001, 5002, 5003]), ..three() };
    let waiting = create_topic(&before, &last, new("b", computed(1, 1))).unwrap();
    assert!(matches!(waiting.topics["b"].standing, Standing::Waiting(_)));
}

#[test]
fn the_consumers_offsets_are_on_the_first_spu_that_is_there() {
    for (spus, leaving, expected) in [
        (vec![(5001, true), (5002, true)], vec![], 5001),
        (vec![(5003, true), (5002, true), (5001, false)], vec![], 5002),
        (vec![(5001, true), (5002, true)], vec![5001], 5002),
    ] {
        let world = World { leaving: leaving.into_iter().collect(), ..world(&spus) };
        // Elsewhere there would be less to do.
        let busy = made(&[("busy", assigned(&[&[expected], &[expected]]))], &world);
        let made = ensure_consumer_offsets(&busy, &world, Uuid::new_v4()).unwrap();
        assert_eq!(leaders(&made, CONSUMER_OFFSETS), [expected], "{spus:?}");
    }
}

#[test]
fn an_spu_can_go_once_it_holds_nothing() {
    let empty = Metadata::default();
    assert_eq!(without(&empty, &[(5003, "main-2")]), Ok(None));
    let full = made(&[("a", computed(3, 1)), ("b", computed(2, 1))], &three());
    let full = ensure_consumer_offsets(&full, &three(), Uuid::new_v4()).unwrap();
    assert_eq!(replicas(&full), [(5001, 3), (5002, 2), (5003, 1)].into());
    for (spu, name, expected) in [
        (5001, "main-0", "SPU main-0 still holds 2 partitions and the consumers' offsets"),
        (5002, "main-1", "SPU main-1 still holds 2 partitions"),
        (5003, "main-2", "SPU main-2 still holds 1 partition"),
    ] {
        assert_eq!(without(&full, &[(spu, name)]).unwrap_err().to_string(), expected);
    }
    let deleted = delete_topic(&full, "a", false).unwrap();
    let id = full.topics["a"].id;
    assert_eq!(deleted.retired[&id], BTreeSet::from([5001, 5002, 5003]));
    let gone = without(&deleted, &[(5003, "main-2")]).unwrap().unwrap();
    assert_eq!(gone.retired[&id], BTreeSet::from([5001, 5002]), "nobody waits for one that is gone");
    assert_eq!(gone.topics, deleted.topics);
    assert!(without(&gone, &[(5003, "main-2"), (5002, "main-1")]).is_err(), "one of two is enough");
}
