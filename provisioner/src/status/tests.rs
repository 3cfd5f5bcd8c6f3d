//! Tables: what is wanted, what is, what the tenant reads.

use super::*;
use crate::plan::tests::{but, nothing, settled, wanted};
use crate::process::Role;

fn trouble(times: u32) -> Trouble {
    Trouble { reason: "The disk is full".into(), error: "ENOSPC".into(), times }
}

fn ready() -> Status {
    Status { state: State::Running, reason: String::new(), ready: true, ..Status::new() }
}

fn dying(up: bool) -> Observed {
    but(|o| {
        let ended = "ended with code 1".to_owned();
        let state =
            if up { RoleState::Up { pid: 1, failures: 9 } } else { RoleState::Down { failures: 9, ended } };
        o.processes.roles.insert(Role::Node, state);
    })
}

#[test]
fn every_situation_has_its_state_and_says_what_is_waited_for() {
    let unhealthy = |reason: &str| {
        let reason = reason.to_owned();
        but(|o| o.health = Some(crate::control::Health { reason, ..Default::default() }))
    };
    let new = Status::new();
    let failed = dying(false);
    let failed = Observed { health: None, ..failed };
    let table = [
        (nothing(), &new, None, State::Creating, "Preparing"),
        (but(|o| o.identity = Identity::Asked), &new, None, State::Creating, "certificates"),
        (but(|o| (o.in_force, o.health) = (None, None)), &new, None, State::Creating, "Starting"),
        (unhealthy("no SPU"), &new, None, State::Creating, "no SPU"),
        (but(|o| o.proven = false), &new, None, State::Creating, "gateway"),
        (settled(), &new, None, State::Running, ""),
        (but(|o| o.health = None), &ready(), None, State::Degraded, "Starting"),
        (but(|o| o.spus = 3), &ready(), None, State::Degraded, "1 of 3 SPUs"),
        (failed, &ready(), None, State::Failed, "keeps ending"),
        (dying(true), &ready(), None, State::Running, ""),
        (nothing(), &new, Some(trouble(1)), State::Creating, "disk is full"),
        (nothing(), &new, Some(trouble(9)), State::Failed, "disk is full"),
        (but(|o| o.health = None), &ready(), Some(trouble(9)), State::Degraded, "disk is full"),
        // What does not keep a client from using the cluster is the operator's business only.
        (settled(), &ready(), Some(trouble(9)), State::Running, ""),
    ];
    for (observed, before, trouble, state, reason) in table {
        let status = describe(&wanted(), &observed, before, trouble.as_ref());
        assert_eq!(status.state, state, "{observed:?}");
        assert!(
            status.reason.contains(reason) && status.reason.is_empty() == reason.is_empty(),
            "{status:?}"
        );
    }
}

#[test]
fn a_deletion_is_over_when_nothing_runs_and_nothing_leads_there() {
    let deleted = Wanted { deleted: true, ..wanted() };
    let state = |observed: &Observed| describe(&deleted, observed, &ready(), None).state;
    let stopped = but(|o| {
        o.backends.clear();
        o.processes.roles.clear();
    });
    assert_eq!(state(&settled()), State::Deleting);
    assert_eq!(state(&Observed { backends: settled().backends, ..stopped.clone() }), State::Deleting);
    assert_eq!(state(&Observed { processes: Supervision::default(), ..stopped.clone() }), State::Deleting);
    assert_eq!(state(&stopped), State::Deleted);
}

#[test]
fn a_pause_is_over_when_nothing_runs_and_nothing_leads_there() {
    let paused = Wanted { paused: true, ..wanted() };
    let stopped = but(|o| {
        o.backends.clear();
        o.processes.roles.clear();
    });
    assert_eq!(describe(&paused, &settled(), &ready(), None).state, State::Pausing);
    let status = describe(&paused, &stopped, &ready(), None);
    assert_eq!((status.state, status.observed_generation), (State::Paused, paused.generation));
    assert_eq!(describe(&paused, &stopped, &status, None), status, "a second look changes nothing");
}

#[test]
fn a_tenant_who_wants_fewer_spus_reads_why_they_stay() {
    let status = describe(&wanted(), &but(|o| (o.spus, o.health) = (2, two_up())), &ready(), None);
    assert_eq!(status.state, State::Running);
    assert!(status.reason.contains("number only grows"), "{status:?}");
}

fn two_up() -> Option<crate::control::Health> {
    let mut health = crate::plan::tests::healthy();
    let first = health.spus[0].clone();
    health.spus.push(crate::control::SpuHealth { id: 5002, ..first });
    Some(health)
}

#[test]
fn figures_outlive_a_restart_and_never_fall_back() {
    let before = Status { restarts: 5, storage_bytes: 70, observed_generation: 6, ..ready() };
    let away = describe(&wanted(), &but(|o| (o.health, o.in_force) = (None, None)), &before, None);
    assert_eq!((away.restarts, away.storage_bytes, away.observed_generation), (5, 70, 6));
    assert!(away.ready);
    let back = describe(&wanted(), &settled(), &away, None);
    assert_eq!((back.spus_ready, back.storage_bytes, back.observed_generation), (1, 99, 7));
    assert_eq!(describe(&wanted(), &settled(), &back, None), back, "a second look changes nothing");
}
