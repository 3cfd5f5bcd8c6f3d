use std::collections::BTreeSet;

use super::*;
use crate::link::PartitionKey;
use crate::sc::topic::TopicOptions;

fn set(spus: &[i32]) -> BTreeSet<i32> {
    spus.iter().copied().collect()
}

fn ends(leo: i64, durable: i64) -> Ends {
    Ends { leo, durable, hw: 0 }
}

fn assignment(replicas: &[i32], version: u32, in_sync: &[i32]) -> Assignment {
    Assignment {
        key: PartitionKey { topic: "t".into(), partition: 0 },
        topic_id: uuid::Uuid::from_u128(7),
        epoch: 3,
        leader: 1,
        replicas: replicas.to_vec(),
        in_sync: InSync { version, spus: set(in_sync) },
        factor: 3,
        placed_by_client: false,
        options: TopicOptions::default(),
    }
}

/// The SC's word on three copies.
fn word(version: u32, in_sync: &[i32]) -> Assignment {
    assignment(&[1, 2, 3], version, in_sync)
}

/// SPU 1 leads, 2 and 3 follow, and these are in sync.
fn leading(in_sync: &[i32]) -> Leading {
    Leading::new(1, &word(4, in_sync), ends(10, 10), 0)
}

/// A copy says something, on a new stream if there is none.
fn hear(leading: &mut Leading, spu: i32, durable: i64, now_ms: u64) {
    let feed = leading.followers[&spu].feed.unwrap_or_else(|| leading.begin_feed(spu, now_ms));
    leading.heard(spu, feed, durable, now_ms);
}

fn end(leading: &mut Leading, spu: i32) {
    leading.end_feed(spu, leading.followers[&spu].feed.unwrap());
}

#[test]
fn committed_is_what_every_copy_in_sync_has() {
    // In sync, durable at 1, 2 and 3; committed. The epoch begins at 10.
    for (in_sync, durable, committed) in [
        (&[1, 2, 3][..], [20, 20, 20], 20),
        (&[1, 2, 3], [20, 17, 19], 17),
        (&[1, 2, 3], [16, 20, 20], 16),
        (&[1, 2, 3], [10, 10, 10], 10),
        (&[1, 2], [20, 18, 0], 18),
        // Of what leaders before wrote nothing, until all of it is committed.
        (&[1, 2, 3], [20, 9, 20], 0),
        (&[1, 2, 3], [9, 20, 20], 0),
        // One copy of three is no majority, whatever it has.
        (&[1], [20, 20, 20], 0),
        (&[1, 2, 3], [20, 20, -1], 0),
    ] {
        let mut leading = leading(in_sync);
        leading.moved(ends(20, durable[0]), 1);
        hear(&mut leading, 2, durable[1], 1);
        hear(&mut leading, 3, durable[2], 1);
        assert_eq!(leading.committed(), committed, "{in_sync:?} {durable:?}");
    }
}

#[test]
fn committed_never_goes_back() {
    let mut leading = leading(&[1, 2]);
    hear(&mut leading, 2, 10, 1);
    assert_eq!(leading.committed(), 10);
    hear(&mut leading, 2, 3, 2);
    assert_eq!(leading.committed(), 10);
}

#[test]
fn a_copy_that_lags_is_asked_out_and_counts_until_the_sc_has_spoken() {
    let mut leading = leading(&[1, 2, 3]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 10, 0);
    leading.moved(ends(20, 20), 100);
    hear(&mut leading, 2, 20, 200);
    assert_eq!(leading.ask(100 + LAG_MS - 1), None, "it has time to catch up");
    let asked = leading.ask(100 + LAG_MS).unwrap();
    assert_eq!(asked, InSync { version: 4, spus: set(&[1, 2]) });
    assert_eq!(leading.committed(), 10, "the SC may still elect 3");
    assert_eq!(leading.ask(101 + LAG_MS), None, "once is enough");
    leading.told(&word(5, &[1, 2]), 0);
    assert_eq!(leading.committed(), 20);
}

#[test]
fn a_copy_that_caught_up_is_asked_in_and_counts_at_once() {
    let mut leading = leading(&[1, 2]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 4, 0);
    assert_eq!(leading.committed(), 10);
    leading.begin_feed(3, 0);
    assert_eq!(leading.ask(1), None);
    hear(&mut leading, 3, 10, 2);
    assert_eq!(leading.ask(3).unwrap().spus, set(&[1, 2, 3]));
    leading.moved(ends(12, 12), 4);
    hear(&mut leading, 2, 12, 5);
    assert_eq!(leading.committed(), 10, "the SC may have put 3 in already");
    hear(&mut leading, 3, 12, 6);
    assert_eq!(leading.committed(), 12);
}

#[test]
fn a_copy_without_a_stream_is_never_asked_in() {
    let mut leading = leading(&[1, 2]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 10, 0);
    end(&mut leading, 3);
    assert_eq!(leading.ask(1), None);
}

#[test]
fn an_idle_copy_stays_in_sync_however_long_nothing_comes() {
    let mut leading = leading(&[1, 2, 3]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 10, 0);
    assert_eq!(leading.ask(1_000_000), None);
    leading.moved(ends(11, 11), 1_000_000);
    assert_eq!(leading.ask(1_000_001), None, "it fell behind just now");
}

#[test]
fn an_ask_that_nobody_answers_is_repeated_until_the_sc_has_spoken() {
    let mut leading = leading(&[1, 2]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 10, 0);
    assert!(leading.ask(1).is_some());
    end(&mut leading, 3);
    hear(&mut leading, 3, 0, 2);
    assert_eq!(leading.ask(3), None);
    // The same set as is in force, but with another version it ends the doubt.
    assert_eq!(leading.ask(1 + ASK_AGAIN_MS).unwrap().spus, set(&[1, 2]));
    leading.told(&word(5, &[1, 2]), 0);
    assert_eq!(leading.ask(2 + 2 * ASK_AGAIN_MS), None);
}

#[test]
fn an_older_word_of_the_sc_changes_nothing() {
    let mut leading = leading(&[1, 2]);
    leading.told(&word(4, &[1]), 0);
    leading.told(&word(3, &[1, 2, 3]), 0);
    hear(&mut leading, 2, 10, 0);
    assert_eq!(leading.committed(), 10);
}

#[test]
fn asks_that_may_both_be_granted_both_count() {
    let mut leading = leading(&[1, 2]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 10, 0);
    assert_eq!(leading.ask(1).unwrap().spus, set(&[1, 2, 3]));
    leading.moved(ends(30, 30), 2);
    hear(&mut leading, 3, 30, 3);
    // Now 2 lags, and the first ask may still be on its way.
    assert_eq!(leading.ask(2 + LAG_MS).unwrap().spus, set(&[1, 3]));
    assert_eq!(leading.committed(), 10);
}

#[test]
fn the_last_copies_that_can_commit_are_not_asked_out() {
    let mut leading = leading(&[1, 2]);
    leading.moved(ends(20, 20), 0);
    assert_eq!(leading.ask(10 * LAG_MS), None, "2 is far behind, and nobody is there in its place");
    leading.begin_feed(3, 0);
    hear(&mut leading, 3, 20, 10 * LAG_MS);
    assert_eq!(leading.ask(10 * LAG_MS).unwrap().spus, set(&[1, 3]));
}

#[test]
fn a_copy_that_is_added_is_let_in_when_it_has_everything_and_one_that_is_dropped_counts_no_more() {
    let mut leading = leading(&[1, 2, 3]);
    hear(&mut leading, 2, 10, 1);
    hear(&mut leading, 3, 10, 1);
    leading.told(&assignment(&[1, 2, 3, 4], 5, &[1, 2, 3]), 2);
    assert_eq!(leading.committed(), 10, "what was heard before is not forgotten");
    leading.begin_feed(4, 0);
    hear(&mut leading, 4, 9, 3);
    assert_eq!(leading.ask(3), None, "it lacks a committed record");
    hear(&mut leading, 4, 10, 4);
    assert_eq!(leading.ask(4), Some(InSync { version: 5, spus: set(&[1, 2, 3, 4]) }));
    leading.told(&assignment(&[1, 2, 4], 7, &[1, 2, 4]), 5);
    leading.moved(ends(11, 11), 6);
    hear(&mut leading, 2, 11, 6);
    assert_eq!(leading.committed(), 10, "4 is waited for");
    hear(&mut leading, 4, 11, 6);
    assert_eq!(leading.committed(), 11, "3 is not");
}

#[test]
fn one_copy_commits_alone_until_the_one_that_is_added_is_in_sync() {
    let alone = Assignment { factor: 1, ..assignment(&[1, 2], 1, &[1]) };
    let mut leading = Leading::new(1, &alone, ends(10, 10), 0);
    assert_eq!(leading.committed(), 10);
    leading.begin_feed(2, 0);
    hear(&mut leading, 2, 10, 1);
    assert_eq!(leading.ask(1), Some(InSync { version: 1, spus: set(&[1, 2]) }));
    leading.moved(ends(11, 11), 2);
    assert_eq!(leading.committed(), 10, "the SC may have granted it");
}

#[test]
fn what_a_copy_said_before_its_stream_broke_says_nothing_about_its_disk() {
    let mut leading = leading(&[1, 2]);
    hear(&mut leading, 2, 10, 0);
    leading.committed();
    let before = leading.begin_feed(3, 0);
    leading.heard(3, before, 10, 1);
    assert!(leading.ask(1).is_some(), "it has everything");
    leading.told(&word(5, &[1, 2]), 2);
    // It comes back, perhaps with another disk, and the end of the former stream is not seen yet.
    let now = leading.begin_feed(3, 0);
    assert_eq!(leading.ask(3), None, "it has not said anything yet");
    leading.heard(3, before, 10, 4);
    assert_eq!(leading.ask(4), None, "that was said before");
    leading.end_feed(3, before);
    leading.heard(3, now, 10, 5);
    assert!(leading.ask(5).is_some());
}

#[test]
fn a_copy_that_dials_again_is_not_asked_out_before_it_can_speak() {
    let mut leading = leading(&[1, 2, 3]);
    hear(&mut leading, 2, 10, 0);
    hear(&mut leading, 3, 10, 0);
    let feed = leading.begin_feed(3, 100 * LAG_MS);
    assert_eq!(leading.ask(100 * LAG_MS), None);
    assert_eq!(leading.committed(), 0, "what it has now is not known");
    leading.heard(3, feed, 10, 100 * LAG_MS + 1);
    assert_eq!((leading.committed(), leading.ask(100 * LAG_MS + 2)), (10, None));
}
