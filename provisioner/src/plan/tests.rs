//! Tables: what is wanted, what is, what is to be done.

use uuid::Uuid;

use super::*;
use crate::control::SpuHealth;

/// A cluster with one SPU as its tenant wants it.
pub fn wanted() -> Wanted {
    Wanted {
        cluster: Uuid::from_u128(1),
        tenant: Uuid::from_u128(2),
        domain: "blue.fluvio.localhost".into(),
        spus: 1,
        plan: crate::store::Plan::Small,
        paused: false,
        generation: 7,
        deleted: false,
        purge_due: false,
    }
}

fn sockets() -> BTreeMap<String, String> {
    BTreeMap::from([
        (String::new(), "unix:/c/sc.sock".into()),
        ("main-0".into(), "unix:/c/main-0.sock".into()),
    ])
}

/// Nothing of the cluster is there.
pub fn nothing() -> Observed {
    Observed {
        spus: 1,
        prepared: false,
        processes: Supervision { nothing_else: true, ..Supervision::default() },
        identity: Identity::None,
        in_force: None,
        health: None,
        backends: BTreeMap::new(),
        sockets: sockets(),
        proven: false,
    }
}

/// The cluster as it is wanted.
pub fn settled() -> Observed {
    let up = RoleState::Up { pid: 42, failures: 0 };
    Observed {
        prepared: true,
        processes: Supervision {
            roles: BTreeMap::from([(Role::Node, up)]),
            nothing_else: true,
            ..Supervision::default()
        },
        identity: Identity::Held,
        in_force: Some(7),
        health: Some(healthy()),
        backends: sockets(),
        proven: true,
        ..nothing()
    }
}

/// What a cluster with one SPU says when it is well.
pub fn healthy() -> Health {
    Health {
        ready: true,
        generation: 7,
        spus: vec![SpuHealth { id: 5001, name: "main-0".into(), online: true, replicas: None }],
        partitions: 3,
        storage_bytes: 99,
        ..Health::default()
    }
}

/// The settled cluster, with a change.
pub fn but(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut observed = settled();
    change(&mut observed);
    observed
}

#[test]
fn a_settled_cluster_is_left_alone() {
    assert_eq!(plan(&wanted(), &settled()), []);
}

#[test]
fn a_new_cluster_starts_its_processes_before_it_waits_for_anybody() {
    let actions =
        [Action::Prepare, Action::Supervise(vec![Role::Node]), Action::Ask, Action::Publish(sockets())];
    assert_eq!(plan(&wanted(), &nothing()), actions);
}

#[test]
fn each_difference_has_its_action_and_no_other() {
    let down = RoleState::Down { failures: 1, ended: "ended".into() };
    let newer = Wanted { generation: 8, ..wanted() };
    let table = [
        ("unprepared", wanted(), but(|o| o.prepared = false), vec![Action::Prepare]),
        ("another process", wanted(), but(|o| o.spus = 2), vec![Action::Supervise(roles_for(2))]),
        ("routes are gone", wanted(), but(|o| o.backends.clear()), vec![Action::Publish(sockets())]),
        ("old certificate", wanted(), but(|o| o.identity = Identity::Old), vec![Action::Ask]),
        ("renewing", wanted(), but(|o| o.identity = Identity::Renewing), vec![]),
        ("new generation", newer.clone(), settled(), vec![Action::Push]),
        ("new certificate", wanted(), but(|o| o.in_force = None), vec![Action::Push]),
        ("not proven", wanted(), but(|o| o.proven = false), vec![Action::Probe]),
        ("not proven, not healthy", wanted(), but(|o| (o.proven, o.health) = (false, None)), vec![]),
        ("no certificate to push", newer.clone(), but(|o| o.identity = Identity::Asked), vec![]),
        ("nobody to push to", newer, but(|o| drop(o.processes.roles.insert(Role::Node, down))), vec![]),
    ];
    for (name, wanted, observed, actions) in table {
        assert_eq!(plan(&wanted, &observed), actions, "{name}");
    }
}

#[test]
fn a_deletion_takes_routes_and_processes_first_and_data_only_after_its_time() {
    let deleted = Wanted { deleted: true, ..wanted() };
    let due = Wanted { purge_due: true, ..deleted.clone() };
    let stopped = but(|o| {
        o.backends.clear();
        o.processes.roles.clear();
    });
    let ending = Observed { processes: Supervision::default(), ..stopped.clone() };
    let end = vec![Action::Publish(BTreeMap::new()), Action::Supervise(vec![])];
    assert_eq!(plan(&deleted, &settled()), end);
    assert_eq!(plan(&due, &settled()), end, "never everything at once");
    assert_eq!(plan(&deleted, &stopped), []);
    assert_eq!(plan(&due, &ending), [], "a process still ends");
    assert_eq!(plan(&due, &stopped), [Action::Purge]);
    assert_eq!(plan(&wanted(), &stopped)[0], Action::Supervise(vec![Role::Node]), "brought back");
}

#[test]
fn a_paused_cluster_rests_and_keeps_everything() {
    let paused = Wanted { paused: true, purge_due: true, ..wanted() };
    let stopped = but(|o| {
        o.backends.clear();
        o.processes.roles.clear();
    });
    let end = vec![Action::Publish(BTreeMap::new()), Action::Supervise(vec![])];
    assert_eq!(plan(&paused, &settled()), end);
    assert_eq!(plan(&paused, &stopped), [], "nothing of it is ever removed");
    assert_eq!(plan(&wanted(), &stopped)[0], Action::Supervise(vec![Role::Node]), "resumed");
}
