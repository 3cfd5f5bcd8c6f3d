//! What the watches tell, in any order.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::kubernetes::covers::fingerprint;
use crate::kubernetes::names;
use crate::kubernetes::objects::tests::{cases, shape, site};
use crate::kubernetes::objects::{self, Shape};

const SERVICE: Watched = Watched::Written(Kind::Service);

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// A live object of ours as the API server would give it.
fn live(kind: Kind, name: &str, uid: u128, version: u64) -> DynamicObject {
    let reference = Ref { kind, name: name.into() };
    let mut value = objects::build(&site(&[]), &shape(), &reference).unwrap();
    value["metadata"]["uid"] = json!(Uuid::from_u128(uid).to_string());
    value["metadata"]["resourceVersion"] = json!(version.to_string());
    object(value)
}

fn judged(object: &DynamicObject, kind: Kind) -> u64 {
    judge(&site(&[]), &shape(), kind, object)
}

#[test]
fn an_object_is_covered_until_somebody_changes_it() {
    let mut known = Live::default();
    let reference = Ref { kind: Kind::Service, name: "sc".into() };
    let wanted = objects::build(&site(&[]), &shape(), &reference).unwrap();
    let mut service = live(Kind::Service, "sc", 1, 5);
    service.data["spec"]["clusterIP"] = json!("10.0.0.7");
    assert!(known.take(SERVICE, &service, judged(&service, Kind::Service), 1));
    assert!(known.is_covered(&reference, fingerprint(&wanted)));
    assert_eq!(known.address("sc"), Some("10.0.0.7".parse().unwrap()));
    assert!(!known.take(SERVICE, &service, judged(&service, Kind::Service), 1), "twice is once");
    let mut edited = service.clone();
    edited.data["spec"]["selector"]["more"] = json!("x");
    edited.metadata.resource_version = Some("6".into());
    assert!(known.take(SERVICE, &edited, judged(&edited, Kind::Service), 1));
    assert!(!known.is_covered(&reference, fingerprint(&wanted)));
}

#[test]
fn a_view_from_before_our_own_write_is_not_believed() {
    let mut known = Live::default();
    let new = live(Kind::Service, "sc", 1, 9);
    known.take(SERVICE, &new, 7, 1);
    let old = live(Kind::Service, "sc", 1, 8);
    assert!(!known.take(SERVICE, &old, 0, 1));
    assert!(known.is_covered(&Ref { kind: Kind::Service, name: "sc".into() }, 7));
    // The end of an earlier object of that name is not the end of this one.
    assert!(!known.lose(SERVICE, &live(Kind::Service, "sc", 2, 10)));
    assert!(known.lose(SERVICE, &new));
    assert!(known.is_nothing());
}

#[test]
fn a_set_that_names_its_own_secret_is_right_until_the_secrets_are_known() {
    let set = live(Kind::StatefulSet, "sc", 1, 1);
    let unknown = Shape { internal: None, ..shape() };
    let other = Shape { internal: Some("internal-other".into()), ..shape() };
    let covered = judge(&site(&[]), &unknown, Kind::StatefulSet, &set);
    assert_eq!(covered, judge(&site(&[]), &shape(), Kind::StatefulSet, &set));
    assert_ne!(covered, 0);
    assert_eq!(judge(&site(&[]), &other, Kind::StatefulSet, &set), 0);
}

#[test]
fn whose_something_is_comes_from_its_namespace_alone() {
    let home = names::namespace(shape().cluster);
    let cluster = Some(shape().cluster);
    let volume = |namespace: &str| {
        object(json!({ "metadata": { "name": "pv" }, "spec": { "claimRef": { "namespace": namespace } } }))
    };
    assert_eq!(owner(Watched::Volume, &volume(&home)), cluster);
    assert_eq!(owner(Watched::Volume, &volume("kube-system")), None);
    assert_eq!(
        owner(Watched::Pod, &object(json!({ "metadata": { "name": "sc-0", "namespace": home } }))),
        cluster
    );
    let stranger =
        json!({ "metadata": { "name": "sc-0", "namespace": "x", "labels": { names::CLUSTER: "1" } } });
    assert_eq!(owner(Watched::Pod, &object(stranger)), None);
}

#[test]
fn a_pod_says_what_keeps_it_from_working() {
    let pod = |status: Value| read::pod(&object(json!({ "metadata": {}, "status": status })));
    let waiting = |reason: &str| json!({ "containerStatuses": [{ "state": { "waiting": { "reason": reason, "message": "m" } }, "restartCount": 3 }] });
    let table = [
        (json!({}), None),
        (waiting("ContainerCreating"), None),
        (waiting("ImagePullBackOff"), Some(PodTrouble::Image)),
        (waiting("CrashLoopBackOff"), Some(PodTrouble::Crashing)),
        (waiting("CreateContainerConfigError"), Some(PodTrouble::Setup)),
        (
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "m" }] }),
            Some(PodTrouble::Unschedulable),
        ),
        (
            json!({ "containerStatuses": [{ "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                    "lastState": { "terminated": { "reason": "OOMKilled" } } }] }),
            Some(PodTrouble::OutOfMemory),
        ),
    ];
    for (status, trouble) in table {
        assert_eq!(pod(status.clone()).trouble.map(|(trouble, _)| trouble), trouble, "{status}");
    }
    let up = pod(json!({ "conditions": [{ "type": "Ready", "status": "True" }],
                         "containerStatuses": [{ "state": { "running": {} }, "restartCount": 2 }] }));
    assert_eq!((up.started, up.ready, up.ending, up.restarts), (true, true, false, 2));
}

#[test]
fn a_set_is_whole_when_every_pod_is_of_its_newest_template_and_ready() {
    let set = |generation: i64, status: Value| {
        let value =
            json!({ "metadata": { "generation": generation }, "spec": { "replicas": 2 }, "status": status });
        read::set(&object(value))
    };
    let status = |observed, ready, updated, one: bool| {
        json!({ "observedGeneration": observed, "replicas": 2, "readyReplicas": ready, "updatedReplicas": updated,
                "currentRevision": "a", "updateRevision": if one { "a" } else { "b" } })
    };
    assert!(set(1, status(1, 2, 0, true)).is_whole());
    assert!(!set(2, status(1, 2, 2, true)).is_whole(), "its status is of before");
    assert!(!set(1, status(1, 1, 2, true)).is_whole(), "one is not ready");
    assert!(!set(1, status(1, 2, 1, false)).is_whole(), "one is of the older template");
    assert!(!set(1, json!({})).is_whole() && !set(1, json!({})).is_empty());
}

/// What happens to three Services: each is there with a version, or not.
fn histories() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0_usize..3, any::<bool>()), 1..30)
}

proptest! {
    #![proptest_config(cases(128))]

    /// P3: whatever is dropped, doubled or told late, the next whole look gives the same as if all had been heard.
    #[test]
    fn lost_doubled_and_late_events_end_in_the_same(history in histories(), fate in prop::collection::vec(0_u8..4, 30)) {
        let names = ["sc", "servers", "spu-main-0"];
        let mut world: [Option<(u128, u64)>; 3] = [None; 3];
        let (mut heard, mut late) = (Live::default(), Vec::new());
        for (at, (which, there)) in history.iter().enumerate() {
            let version = at as u64 + 10;
            let uid = world[*which].map_or(u128::from(version), |(uid, _)| uid);
            let event = live(Kind::Service, names[*which], uid, version);
            if !there && world[*which].is_none() {
                continue;
            }
            world[*which] = there.then_some((uid, version));
            let tell = |known: &mut Live| if *there { known.take(SERVICE, &event, version, 1) } else { known.lose(SERVICE, &event) };
            match fate[at] {
                0 => {}
                1 => late.push((*there, event, version)),
                2 => { tell(&mut heard); tell(&mut heard); }
                _ => { tell(&mut heard); }
            }
        }
        for (there, event, version) in late.into_iter().rev() {
            if there { heard.take(SERVICE, &event, version, 1); } else { heard.lose(SERVICE, &event); }
        }
        let mut told = Live::default();
        for (which, state) in world.iter().enumerate() {
            if let Some((uid, version)) = state {
                let object = live(Kind::Service, names[which], *uid, *version);
                heard.take(SERVICE, &object, *version, 2);
                told.take(SERVICE, &object, *version, 2);
            }
        }
        heard.sweep(SERVICE, 2);
        let sorted = |live: &Live| {
            let mut all: Vec<_> = live.entries.iter().map(|entry| (entry.name.clone(), entry.uid, entry.version, entry.covered)).collect();
            all.sort();
            all
        };
        prop_assert_eq!(sorted(&heard), sorted(&told));
    }
}
