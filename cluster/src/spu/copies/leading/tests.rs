use std::collections::BTreeSet;

use super::*;

fn set(spus: &[i32]) -> BTreeSet<i32> {
    spus.iter().copied().collect()
}

fn ends(leo: i64, durable: i64) -> Ends {
    Ends { leo, durable, hw: 0 }
}

/// SPU 1 leads, 2 and 3 follow, and these are in sync.
fn leading(in_sync: &[i32]) -> Leading {
    Leading::new(1, &[1, 2, 3], InSync { version: 4, spus: set(in_sync) }, ends(10, 10), 0)
}

#[test]
fn committed_is_what_every_copy_in_sync_has() {
    // In sync, durable at 1, 2 and 3; committed.
    for (in_sync, durable, committed) in [
        (&[1, 2, 3][..], [10, 10, 10], 10),
        (&[1, 2, 3], [10, 7, 9], 7),
        (&[1, 2, 3], [6, 10, 10], 6),
        (&[1, 2], [10, 8, 0], 8),
        // One copy of three is no majority, whatever it has.
        (&[1], [10, 10, 10], 0),
        (&[1, 2, 3], [10, 10, -1], 0),
    ] {
        let mut leading = leading(in_sync);
        leading.moved(ends(10, durable[0]), 1);
        leading.heard(2, durable[1], 1);
        leading.heard(3, durable[2], 1);
        assert_eq!(leading.committed(), committed, "{in_sync:?} {durable:?}");
    }
}

#[test]
fn committed_never_goes_back() {
    let mut leading = leading(&[1, 2]);
    leading.heard(2, 10, 1);
    assert_eq!(leading.committed(), 10);
    leading.heard(2, 3, 2);
    assert_eq!(leading.committed(), 10);
}

#[test]
fn a_copy_that_lags_is_asked_out_and_counts_until_the_sc_has_spoken() {
    let mut leading = leading(&[1, 2, 3]);
    leading.heard(2, 10, 0);
    leading.heard(3, 10, 0);
    leading.moved(ends(20, 20), 100);
    leading.heard(2, 20, 200);
    assert_eq!(leading.ask(100 + LAG_MS - 1), None, "it has time to catch up");
    let asked = leading.ask(100 + LAG_MS).unwrap();
    assert_eq!(asked, InSync { version: 4, spus: set(&[1, 2]) });
    assert_eq!(leading.committed(), 10, "the SC may still elect 3");
    assert_eq!(leading.ask(101 + LAG_MS), None, "once is enough");
    leading.told(InSync { version: 5, spus: set(&[1, 2]) });
    assert_eq!(leading.committed(), 20);
}

#[test]
fn a_copy_that_caught_up_is_asked_in_and_counts_at_once() {
    let mut leading = leading(&[1, 2]);
    leading.heard(2, 10, 0);
    leading.heard(3, 4, 0);
    assert_eq!(leading.committed(), 10);
    leading.fed(3, true);
    assert_eq!(leading.ask(1), None);
    leading.heard(3, 10, 2);
    assert_eq!(leading.ask(3).unwrap().spus, set(&[1, 2, 3]));
    leading.moved(ends(12, 12), 4);
    leading.heard(2, 12, 5);
    assert_eq!(leading.committed(), 10, "the SC may have put 3 in already");
    leading.heard(3, 12, 6);
    assert_eq!(leading.committed(), 12);
}

#[test]
fn a_copy_without_a_stream_is_never_asked_in() {
    let mut leading = leading(&[1, 2]);
    leading.heard(2, 10, 0);
    leading.heard(3, 10, 0);
    assert_eq!(leading.ask(1), None);
}

#[test]
fn an_idle_copy_stays_in_sync_however_long_nothing_comes() {
    let mut leading = leading(&[1, 2, 3]);
    leading.heard(2, 10, 0);
    leading.heard(3, 10, 0);
    assert_eq!(leading.ask(1_000_000), None);
    leading.moved(ends(11, 11), 1_000_000);
    assert_eq!(leading.ask(1_000_001), None, "it fell behind just now");
}

#[test]
fn an_ask_that_nobody_answers_is_repeated_until_the_sc_has_spoken() {
    let mut leading = leading(&[1, 2]);
    leading.heard(2, 10, 0);
    leading.heard(3, 10, 0);
    leading.fed(3, true);
    assert!(leading.ask(1).is_some());
    leading.fed(3, false);
    leading.heard(3, 0, 2);
    assert_eq!(leading.ask(3), None);
    // The same set as is in force, but with another version it ends the doubt.
    assert_eq!(leading.ask(1 + ASK_AGAIN_MS).unwrap().spus, set(&[1, 2]));
    leading.told(InSync { version: 5, spus: set(&[1, 2]) });
    assert_eq!(leading.ask(2 + 2 * ASK_AGAIN_MS), None);
}

#[test]
fn an_older_word_of_the_sc_changes_nothing() {
    let mut leading = leading(&[1, 2]);
    leading.told(InSync { version: 4, spus: set(&[1]) });
    leading.told(InSync { version: 3, spus: set(&[1, 2, 3]) });
    leading.heard(2, 10, 0);
    assert_eq!(leading.committed(), 10);
}

#[test]
fn asks_that_may_both_be_granted_both_count() {
    let mut leading = leading(&[1, 2]);
    leading.heard(2, 10, 0);
    leading.heard(3, 10, 0);
    leading.fed(3, true);
    assert_eq!(leading.ask(1).unwrap().spus, set(&[1, 2, 3]));
    leading.moved(ends(30, 30), 2);
    leading.heard(3, 30, 3);
    // Now 2 lags, and the first ask may still be on its way.
    assert_eq!(leading.ask(2 + LAG_MS).unwrap().spus, set(&[1, 3]));
    assert_eq!(leading.committed(), 10);
}

#[test]
fn the_last_copies_that_can_commit_are_not_asked_out() {
    let mut leading = leading(&[1, 2]);
    leading.moved(ends(20, 20), 0);
    assert_eq!(leading.ask(10 * LAG_MS), None, "2 is far behind, and nobody is there in its place");
    leading.fed(3, true);
    leading.heard(3, 20, 10 * LAG_MS);
    assert_eq!(leading.ask(10 * LAG_MS).unwrap().spus, set(&[1, 3]));
}
