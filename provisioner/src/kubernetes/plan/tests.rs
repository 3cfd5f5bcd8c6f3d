//! Tables: what is wanted, what is, what is to be done.

use super::*;
use crate::plan::tests::{healthy, wanted};

fn object(kind: Kind, name: &str) -> Ref {
    Ref { kind, name: name.into() }
}

fn set(name: &str, pods: i32) -> SetState {
    SetState { object: object(Kind::StatefulSet, name), matched: true, pods, whole: true, empty: pods == 0 }
}

fn addresses() -> BTreeMap<String, String> {
    BTreeMap::from([
        (String::new(), "tcp:10.0.0.1:9003".into()),
        ("main-0".into(), "tcp:10.0.0.2:9005".into()),
    ])
}

/// The cluster as it is wanted.
pub fn settled() -> Facts {
    Facts {
        namespace: NamespaceFacts::Present,
        unmatched: Vec::new(),
        surplus: Vec::new(),
        empty_claims: Vec::new(),
        volumes: 2,
        quota_in_force: true,
        sets: vec![set("sc", 1), set("main", 1)],
        shrinking: false,
        at_rest: false,
        may_roll: true,
        identities: Identities { known: true, complete: true, ..Identities::default() },
        addresses: Some(addresses()),
        backends: addresses(),
        spus: 1,
        sc_up: true,
        in_force: true,
        health: Some(healthy()),
        drained: false,
        proven: true,
    }
}

/// The settled cluster, with a change.
pub fn but(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = settled();
    change(&mut facts);
    facts
}

/// Nothing of the cluster is there.
pub fn nothing() -> Facts {
    but(|f| {
        f.namespace = NamespaceFacts::Absent;
        f.unmatched = vec![object(Kind::Namespace, "n"), object(Kind::RoleBinding, "provisioner")];
        (f.volumes, f.quota_in_force, f.sets) = (0, false, Vec::new());
        (f.at_rest, f.identities) = (true, Identities::default());
        (f.addresses, f.backends) = (None, BTreeMap::new());
        (f.sc_up, f.in_force, f.health, f.proven) = (false, false, None, false);
    })
}

#[test]
fn a_settled_cluster_is_left_alone() {
    assert_eq!(plan(&wanted(), &settled()), []);
}

#[test]
fn nothing_is_written_into_a_namespace_before_it_and_its_binding_are_there() {
    let namespace = vec![Step::Apply(vec![object(Kind::Namespace, "n")])];
    assert_eq!(plan(&wanted(), &nothing()), namespace);
    let binding = but(|f| {
        f.unmatched = vec![object(Kind::RoleBinding, "provisioner"), object(Kind::Service, "sc")];
        f.identities.wanting = vec![Use::Server];
    });
    let alone = vec![Step::Apply(vec![object(Kind::RoleBinding, "provisioner")])];
    assert_eq!(plan(&wanted(), &binding), alone);
    assert_eq!(plan(&wanted(), &but(|f| f.namespace = NamespaceFacts::Ending)), [], "it ends first");
}

#[test]
fn each_difference_has_its_step_and_no_other() {
    let quota = object(Kind::ResourceQuota, "tenant");
    let service = object(Kind::Service, "spu-main-1");
    let unmatched = |f: &mut Facts, at: usize| f.sets[at].matched = false;
    let table: Vec<(&str, Facts, Vec<Step>)> = vec![
        ("drift", but(|f| f.unmatched = vec![quota.clone()]), vec![Step::Apply(vec![quota])]),
        ("surplus", but(|f| f.surplus = vec![service.clone()]), vec![Step::Remove(vec![service])]),
        (
            "certificates",
            but(|f| f.identities.wanting = vec![Use::Server]),
            vec![Step::Ask(vec![Use::Server])],
        ),
        (
            "not looked at",
            but(|f| (f.identities.wanting, f.identities.known) = (vec![Use::Server], false)),
            vec![],
        ),
        ("answers", but(|f| f.identities.answered = true), vec![Step::Collect]),
        ("routes", but(|f| f.backends.clear()), vec![Step::Publish(addresses())]),
        ("no address yet", but(|f| (f.backends, f.addresses) = (BTreeMap::new(), None)), vec![]),
        ("settings", but(|f| f.in_force = false), vec![Step::Push]),
        ("settings, no answer", but(|f| (f.in_force, f.health) = (false, None)), vec![]),
        ("settings, no SC", but(|f| (f.in_force, f.sc_up) = (false, false)), vec![]),
        ("settings, no identity", but(|f| (f.in_force, f.identities.complete) = (false, false)), vec![]),
        ("proof", but(|f| f.proven = false), vec![Step::Probe]),
        ("proof, not healthy", but(|f| (f.proven, f.health) = (false, None)), vec![]),
        (
            "no quota yet",
            but(|f| {
                unmatched(f, 0);
                f.quota_in_force = false;
            }),
            vec![],
        ),
        (
            "volume",
            but(|f| f.empty_claims = vec!["data-main-1".into()]),
            vec![Step::Release(vec!["data-main-1".into()])],
        ),
    ];
    for (name, facts, steps) in table {
        assert_eq!(plan(&wanted(), &facts), steps, "{name}");
    }
}

#[test]
fn one_pod_of_a_cluster_is_renewed_at_a_time_over_all_zones() {
    let zones = |states: [(bool, i32, bool); 3]| {
        but(|f| {
            let named = ["sc", "a", "b"].into_iter().zip(states);
            f.sets = named
                .map(|(name, (matched, pods, whole))| {
                    let empty = pods == 0 && !matched;
                    SetState { matched, whole, empty, ..set(name, pods) }
                })
                .collect();
        })
    };
    let apply = |names: &[&str]| {
        let sets: Vec<Ref> = names.iter().map(|name| object(Kind::StatefulSet, name)).collect();
        if sets.is_empty() { vec![] } else { vec![Step::Apply(sets)] }
    };
    let table = [
        ("all at once at a start", [(false, 0, false); 3], apply(&["sc", "a", "b"])),
        ("the first", [(false, 1, true), (false, 1, true), (false, 1, true)], apply(&["sc"])),
        ("waits for it", [(true, 1, false), (false, 1, true), (false, 1, true)], apply(&[])),
        ("also while its pod is away", [(true, 0, false), (false, 1, true), (false, 1, true)], apply(&[])),
        ("the next", [(true, 1, true), (false, 1, true), (false, 1, true)], apply(&["a"])),
        ("a new zone at once", [(true, 1, false), (true, 1, true), (false, 0, false)], apply(&["b"])),
        ("a broken one is mended", [(false, 1, false), (true, 1, true), (true, 1, true)], apply(&["sc"])),
    ];
    for (name, states, steps) in table {
        assert_eq!(plan(&wanted(), &zones(states)), steps, "{name}");
    }
    let elsewhere = Facts { may_roll: false, ..zones([(false, 1, true); 3]) };
    assert!(elsewhere.wants_roll() && !elsewhere.rolled() && settled().rolled() && !settled().wants_roll());
    assert_eq!(plan(&wanted(), &elsewhere), [], "other clusters first");
    let start = Facts { may_roll: false, ..zones([(false, 0, false); 3]) };
    assert_eq!(plan(&wanted(), &start), apply(&["sc", "a", "b"]), "a start is no renewal");
}

#[test]
fn an_identity_goes_when_nobody_uses_it_any_more() {
    let old = |purpose: Use| vec![(purpose, Arc::from("old"))];
    let forget = |purpose: Use| vec![Step::Forget(old(purpose))];
    let outdated = |purpose: Use| but(|f| f.identities.outdated = old(purpose));
    for purpose in [Use::Server, Use::Internal, Use::Control, Use::Request] {
        assert_eq!(plan(&wanted(), &outdated(purpose)), forget(purpose), "{purpose:?}");
    }
    let rolling = Facts { sets: vec![SetState { whole: false, ..set("sc", 1) }], ..outdated(Use::Internal) };
    assert_eq!(plan(&wanted(), &rolling), [], "a pod may still start with it");
    let unpushed = Facts { in_force: false, sc_up: false, ..outdated(Use::Server) };
    assert_eq!(plan(&wanted(), &unpushed), [], "the cluster still shows it");
}

#[test]
fn an_spu_goes_only_when_it_holds_nothing_and_the_others_know() {
    let main = |f: &mut Facts| f.sets[1].matched = false;
    assert_eq!(plan(&wanted(), &but(|f| f.spus = 2)), [], "it still holds something");
    assert_eq!(plan(&wanted(), &but(|f| (f.spus, f.drained) = (2, true))), [Step::Shrink(1)]);
    let unheard = but(|f| (f.spus, f.drained, f.in_force) = (2, true, false));
    assert_eq!(plan(&wanted(), &unheard), [Step::Push], "it is told to hand over first");
    let shrunk = but(|f| {
        (f.shrinking, f.in_force) = (true, false);
        main(f);
    });
    assert_eq!(plan(&wanted(), &shrunk), [Step::Push], "the settings without it come before its end");
    let told = but(|f| {
        f.shrinking = true;
        main(f);
    });
    assert_eq!(plan(&wanted(), &told), [Step::Apply(vec![object(Kind::StatefulSet, "main")])]);
}

#[test]
fn a_rest_takes_routes_and_pods_and_nothing_else() {
    let paused = Wanted { paused: true, ..wanted() };
    let deleted = Wanted { deleted: true, ..wanted() };
    let running = but(|f| f.sets.iter_mut().for_each(|set| set.matched = false));
    let sets = vec![object(Kind::StatefulSet, "sc"), object(Kind::StatefulSet, "main")];
    let stopped = but(|f| {
        f.backends.clear();
        (f.at_rest, f.sc_up, f.health, f.in_force) = (true, false, None, false);
        f.sets = vec![set("sc", 0), set("main", 0)];
    });
    for rest in [&paused, &deleted] {
        let steps = [Step::Publish(BTreeMap::new()), Step::Apply(sets.clone())];
        assert_eq!(plan(rest, &running), steps);
        assert_eq!(plan(rest, &stopped), []);
        assert_eq!(plan(rest, &nothing()), [], "nothing is made only to rest");
    }
}

#[test]
fn data_goes_after_the_routes_and_the_row_after_the_data() {
    let due = Wanted { deleted: true, purge_due: true, ..wanted() };
    assert_eq!(plan(&due, &settled()), [Step::Publish(BTreeMap::new())], "never everything at once");
    let unrouted = but(|f| f.backends.clear());
    assert_eq!(plan(&due, &unrouted), [Step::EndNamespace]);
    let ending = Facts { namespace: NamespaceFacts::Ending, ..unrouted.clone() };
    assert_eq!(plan(&due, &ending), []);
    let volumes = Facts { namespace: NamespaceFacts::Absent, volumes: 1, ..unrouted.clone() };
    assert_eq!(plan(&due, &volumes), [], "a volume is still there");
    let gone = Facts { namespace: NamespaceFacts::Absent, volumes: 0, ..unrouted };
    assert_eq!(plan(&due, &gone), [Step::Purge]);
    let paused = Wanted { paused: true, deleted: false, purge_due: true, ..wanted() };
    assert!(!plan(&paused, &settled()).contains(&Step::EndNamespace), "only what is deleted ends");
}
