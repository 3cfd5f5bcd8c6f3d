use cluster_settings::Durability;

use super::*;
use crate::link::{DurableEnd, ReplicaState};
use crate::sc::decide::{Came, came_back, elect, move_copies, without};
use crate::sc::metadata::{Standing, Topic};
use crate::sc::topic::{Replicas, TopicOptions, TopicSpec};

const ID: Uuid = Uuid::from_u128(7);

fn orders(placed: Placement) -> Metadata {
    let replication_factor = u32::try_from(placed.factor).unwrap();
    let replicas = Replicas::Computed { partitions: 1, replication_factor, ignore_rack: false };
    let spec = TopicSpec { replicas, options: TopicOptions::default() };
    let topic = Topic { id: ID, spec, standing: Standing::Provisioned, partitions: [(0, placed)].into() };
    Metadata::default().with_topic("orders", topic)
}

fn on(replicas: &[i32]) -> Placement {
    Placement::new(replicas[0], replicas.to_vec())
}

fn placed(metadata: &Metadata) -> &Placement {
    &metadata.topics["orders"].partitions[&0]
}

/// These came, and all but the `blank` ones have their copy.
fn heard(came: &[i32], blank: &[i32]) -> Heard {
    let holds = |spu: &i32| if blank.contains(spu) { BTreeSet::new() } else { [(ID, 0)].into() };
    came.iter().map(|spu| (*spu, holds(spu))).collect()
}

/// The cluster's SPUs.
fn spus(n_spus: i32) -> BTreeSet<i32> {
    (1..=n_spus).collect()
}

fn world(online: &[i32]) -> World {
    World { spus: online.iter().map(|spu| (*spu, true)).collect(), calm: true, ..World::default() }
}

/// What SPUs said in this epoch: each the last epoch that it is whole of and the offset where it ends.
fn said(epoch: u32, ends: &[(i32, i32, i64)]) -> BTreeMap<(PartitionKey, i32), ReplicaReport> {
    let key = PartitionKey { topic: "orders".into(), partition: 0 };
    let report = |durable: DurableEnd| ReplicaReport {
        key: key.clone(),
        topic_id: ID,
        epoch,
        state: ReplicaState::Online,
        lost_lead: false,
        base_offset: 0,
        high_watermark: 0,
        log_end: durable.offset + 5,
        size: 0,
        damaged: 0,
        durable: Some(durable),
    };
    let end = |epoch, offset| DurableEnd { epoch: Some(epoch), offset };
    ends.iter().map(|(spu, epoch, offset)| ((key.clone(), *spu), report(end(*epoch, *offset)))).collect()
}

#[test]
fn as_many_copies_must_be_heard_as_an_acknowledgement_takes() {
    let metadata = orders(on(&[1, 2, 3]));
    for (came, blank, enough) in [
        (&[][..], &[][..], false),
        (&[1], &[], false),
        (&[1, 2], &[], true),
        (&[3, 1], &[], true),
        (&[1, 2, 3], &[], true),
        (&[1, 9], &[], false),
        (&[1, 2], &[2], false),
        (&[1, 2, 3], &[2], true),
    ] {
        assert_eq!(heard_enough(&metadata, &heard(came, blank), &spus(3)), enough, "{came:?} {blank:?}");
    }
    assert!(heard_enough(&orders(on(&[1])), &heard(&[1], &[]), &spus(3)));
}

#[test]
fn of_a_cluster_of_which_those_who_came_know_nothing_one_may_be_missing() {
    for (came, n_spus, enough) in
        [(&[1, 2, 3][..], 3, true), (&[1, 3], 3, true), (&[1], 3, false), (&[1], 2, true), (&[], 1, true)]
    {
        assert_eq!(heard_enough(&Metadata::default(), &heard(came, &[]), &spus(n_spus)), enough, "{came:?}");
    }
}

#[test]
fn while_copies_move_so_many_must_be_heard_that_one_has_what_was_acknowledged() {
    let moving = orders(Placement { replicas: vec![1, 2, 3, 4], ..on(&[1, 2, 3]) });
    assert!(!heard_enough(&moving, &heard(&[3, 4], &[]), &spus(4)));
    assert!(heard_enough(&moving, &heard(&[2, 3, 4], &[]), &spus(4)));
    let alone = orders(Placement { replicas: vec![1, 2], ..on(&[1]) });
    assert!(!heard_enough(&alone, &heard(&[1], &[]), &spus(2)), "2 may lead by now, for all that 1 knows");
    assert!(heard_enough(&alone, &heard(&[1, 2], &[]), &spus(2)));
}

#[test]
fn an_spu_that_was_not_heard_may_have_a_copy_that_nobody_here_knows_of() {
    // 3 leads with 4 by now, for all that 1 and 2 know.
    let whole = orders(on(&[1, 2, 3]));
    assert!(!heard_enough(&whole, &heard(&[1, 2], &[]), &spus(4)));
    assert!(heard_enough(&whole, &heard(&[1, 2, 3], &[]), &spus(4)));
    assert!(heard_enough(&whole, &heard(&[1, 2, 4], &[]), &spus(4)));
    // 4 may have what 3 acknowledged, so 3 has to be heard; and nobody leads before.
    let headless = without_leaders(&whole, &heard(&[1, 2, 3], &[]), &spus(4));
    assert_eq!((placed(&headless).leader, &placed(&headless).unheard), (NOBODY, &[4].into()));
    let all = world(&[1, 2, 3, 4]);
    assert_eq!(lead_again(&headless, &all, &said(0, &[(1, 1, 90), (2, 1, 95)])), None);
    let next = lead_again(&headless, &all, &said(0, &[(1, 1, 90), (2, 1, 95), (3, 3, 60)])).unwrap();
    assert_eq!((placed(&next).leader, placed(&next).unheard.len()), (3, 0));
    // Or 4 comes and has none, or goes for good.
    assert_eq!(heard_at_last(&headless, 4, &[(ID, 0)].into()), None);
    let came = heard_at_last(&headless, 4, &BTreeSet::new()).unwrap();
    let gone = without(&headless, &[(4, "four")]).unwrap().unwrap();
    for known in [came, gone] {
        let next = lead_again(&known, &all, &said(0, &[(1, 1, 90), (2, 1, 95)])).unwrap();
        assert_eq!(placed(&next).leader, 2);
    }
}

#[test]
fn nobody_leads_where_a_copy_was_not_heard_of_until_it_is_known_who_has_everything() {
    let whole = orders(on(&[1, 2, 3]));
    assert_eq!(without_leaders(&whole, &heard(&[1, 2, 3], &[]), &spus(3)), whole);
    let headless = without_leaders(&whole, &heard(&[2, 3], &[]), &spus(3));
    assert_eq!((placed(&headless).leader, placed(&headless).epoch), (NOBODY, 0));
    let here = world(&[2, 3]);
    assert_eq!((elect(&headless, &here), move_copies(&headless, &here)), (None, None));

    for (epoch, ends, leader) in [
        (0, &[(2, 4, 90), (3, 4, 100)][..], Some(3)),
        (0, &[(2, 5, 90), (3, 4, 100)], Some(2)),
        (0, &[(2, 5, 90)], None),
        // Said before nobody led: it may have taken in more since.
        (7, &[(2, 5, 90), (3, 4, 100)], None),
    ] {
        let next = lead_again(&headless, &here, &said(epoch, ends));
        assert_eq!(next.as_ref().map(|next| placed(next).leader), leader, "{ends:?}");
        if let Some(next) = next {
            let now = placed(&next);
            assert_eq!((now.epoch, &now.in_sync.spus), (1, &[now.leader].into()));
            assert!(now.in_sync.version > placed(&headless).in_sync.version);
        }
    }
}

#[test]
fn a_copy_that_lost_what_it_had_is_no_witness() {
    let whole = orders(on(&[1, 2, 3]));
    let headless = without_leaders(&whole, &heard(&[2, 3], &[3]), &spus(3));
    let all = world(&[1, 2, 3]);
    assert_eq!(lead_again(&headless, &all, &said(0, &[(2, 4, 90), (3, 4, 0)])), None);
    let two_blank = without_leaders(&whole, &heard(&[2, 3], &[2, 3]), &spus(3));
    assert_eq!(lead_again(&two_blank, &all, &said(0, &[(2, 4, 0), (3, 4, 0)])), None);
    let next = lead_again(&two_blank, &all, &said(0, &[(1, 4, 7), (2, 4, 0), (3, 4, 0)])).unwrap();
    assert_eq!(placed(&next).leader, 1, "nobody is left who could have more");
    let next = lead_again(&headless, &all, &said(0, &[(1, 4, 120), (2, 4, 90), (3, 4, 0)])).unwrap();
    assert_eq!((placed(&next).leader, placed(&next).blank.len()), (1, 0));

    // The same of one that loses its disk while nobody leads.
    let headless = without_leaders(&whole, &heard(&[2, 3], &[]), &spus(3));
    let came = Came { spu: 3, fresh: true, holds: &BTreeSet::new(), durability: Durability::Disk };
    let next = came_back(&headless, &all, &came).unwrap();
    assert_eq!((placed(&next).leader, &placed(&next).blank), (NOBODY, &[3].into()));
}

#[test]
fn what_has_one_copy_keeps_its_leader() {
    let metadata = orders(on(&[1]));
    assert_eq!(without_leaders(&metadata, &heard(&[2], &[]), &spus(3)), metadata);
}

#[test]
fn what_an_sc_that_serves_learns_of_late_is_led_once_enough_copies_have_spoken() {
    // An SC without a disk heard 1 and served its topics of one copy; 2 comes later, as one of three.
    let (before, adopted) = (Metadata::default(), orders(on(&[2, 1, 3])));
    let late = learnt_late(&before, &adopted, &heard(&[1, 2], &[1]), &spus(3));
    assert_eq!((placed(&late).leader, &placed(&late).blank), (NOBODY, &[1].into()));
    let all = world(&[1, 2, 3]);
    // 3 may have led without 2 by now, and what 1 says of an empty copy is nothing.
    assert_eq!(lead_again(&late, &all, &said(0, &[(2, 4, 90), (1, 4, 0)])), None);
    let next = lead_again(&late, &all, &said(0, &[(2, 4, 90), (3, 4, 120)])).unwrap();
    assert_eq!(placed(&next).leader, 3);

    assert_eq!(learnt_late(&adopted, &adopted, &heard(&[2], &[]), &spus(3)), adopted, "nothing was learnt");
    assert_eq!(learnt_late(&before, &adopted, &heard(&[1, 2, 3], &[]), &spus(3)), adopted, "all have come");
    let alone = orders(on(&[2]));
    assert_eq!(learnt_late(&before, &alone, &heard(&[2], &[]), &spus(3)), alone, "it has one copy");
}
