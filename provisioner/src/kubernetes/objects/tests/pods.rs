//! K2 and K4: every pod, whatever the plan.

use proptest::prelude::*;

use super::*;
use crate::kubernetes::covers::amount;

/// The templates of a cluster's pods, with the number of pods.
fn templates(site: &Site, shape: &Shape) -> Vec<(Value, i64)> {
    let sets = built(site, shape).into_iter().filter(|(object, _)| object.kind == Kind::StatefulSet);
    sets.map(|(_, set)| (set["spec"]["template"].clone(), set["spec"]["replicas"].as_i64().unwrap()))
        .collect()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn no_pod_can_do_more_than_it_must(site in sites(), shape in shapes()) {
        let templates = templates(&site, &shape);
        prop_assert!(templates.len() >= 2);
        for (template, _) in templates {
            let pod = &template["spec"];
            prop_assert_eq!(&pod["automountServiceAccountToken"], false);
            prop_assert_eq!(&pod["enableServiceLinks"], false);
            prop_assert_eq!(&pod["serviceAccountName"], "servers");
            prop_assert_eq!(&pod["securityContext"]["runAsNonRoot"], true);
            prop_assert!(pod["securityContext"]["runAsUser"].as_i64().unwrap() > 0);
            prop_assert_eq!(&pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"] {
                prop_assert!(pod[field].is_null(), "{field}");
            }
            let containers = pod["containers"].as_array().unwrap();
            prop_assert_eq!(containers.len(), 1);
            let container = &containers[0];
            let security = &container["securityContext"];
            prop_assert_eq!(&security["allowPrivilegeEscalation"], false);
            prop_assert_eq!(&security["privileged"], false);
            prop_assert_eq!(&security["readOnlyRootFilesystem"], true);
            prop_assert_eq!(&security["capabilities"]["drop"], &serde_json::json!(["ALL"]));
            prop_assert!(security["capabilities"]["add"].is_null());
            prop_assert!(container["ports"].is_null(), "a port here could be one of the node");
            // Nothing secret by environment: one name, and it is the pod's own.
            for variable in container["env"].as_array().into_iter().flatten() {
                prop_assert_eq!(&variable["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
            }
            prop_assert!(container["envFrom"].is_null());
            for volume in pod["volumes"].as_array().unwrap() {
                let keys: Vec<&String> = volume.as_object().unwrap().keys().collect();
                prop_assert_eq!(keys, ["name", "projected"], "no volume of the node's");
            }
            // Modes are decimal in JSON: 0440.
            let mut modes = Vec::new();
            collect(&pod["volumes"], "mode", &mut modes);
            prop_assert!(!modes.is_empty() && modes.iter().all(|mode| **mode == 0o440));
        }
    }

    /// K4: the quota is what the pods need, and not a thousandth more.
    #[test]
    fn the_quota_is_exactly_what_the_servers_need(site in sites(), shape in shapes()) {
        let running = Shape { runs: true, ..shape };
        let quota = build(&site, &running, &Ref::new(Kind::ResourceQuota, "tenant")).unwrap();
        let hard = |name: &str| amount(quota["spec"]["hard"][name].as_str().unwrap()).unwrap();
        let templates = templates(&site, &running);
        for (name, field, key) in [
            ("requests.cpu", "requests", "cpu"),
            ("limits.cpu", "limits", "cpu"),
            ("requests.memory", "requests", "memory"),
            ("limits.memory", "limits", "memory"),
            ("limits.ephemeral-storage", "limits", "ephemeral-storage"),
        ] {
            let need: i128 = templates
                .iter()
                .map(|(template, pods)| {
                    let share = &template["spec"]["containers"][0]["resources"][field][key];
                    amount(share.as_str().unwrap()).unwrap() * i128::from(*pods)
                })
                .sum();
            prop_assert_eq!(hard(name), need, "{}", name);
        }
        let pods: i64 = templates.iter().map(|(_, pods)| pods).sum();
        prop_assert_eq!(hard("pods"), i128::from(pods) * 1000);
        prop_assert_eq!(hard("services.nodeports") + hard("services.loadbalancers"), 0);
    }

    #[test]
    fn a_resting_cluster_has_no_pod_and_keeps_its_volumes(site in sites(), shape in shapes()) {
        let resting = Shape { runs: false, ..shape };
        for (object, set) in built(&site, &resting) {
            if object.kind == Kind::StatefulSet {
                prop_assert_eq!(&set["spec"]["replicas"], 0);
                let kept = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
                prop_assert_eq!(kept, &serde_json::json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }));
            }
        }
    }

    #[test]
    fn a_set_selects_its_own_pods_and_no_others(site in sites(), shape in shapes()) {
        let sets: Vec<_> =
            built(&site, &shape).into_iter().filter(|(object, _)| object.kind == Kind::StatefulSet).collect();
        for (one, set) in &sets {
            let selector = set["spec"]["selector"]["matchLabels"].as_object().unwrap();
            for (other, another) in &sets {
                let labels = &another["spec"]["template"]["metadata"]["labels"];
                let selects = selector.iter().all(|(key, value)| labels[key] == *value);
                prop_assert_eq!(selects, one == other, "{:?} {:?}", one, other);
            }
        }
    }
}

fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    found.push(value);
                }
                collect(value, key, found);
            }
        }
        _ => {}
    }
}

#[test]
fn another_configuration_or_identity_is_another_pod() {
    let template = |shape: &Shape| templates(&site(&[]), shape)[0].0.clone();
    let before = template(&shape());
    assert_eq!(template(&shape()), before);
    assert_ne!(template(&Shape { domain: "red.fluvio.example".into(), ..shape() }), before);
    assert_ne!(template(&Shape { internal: Some("internal-other".into()), ..shape() }), before);
    assert_eq!(
        template(&Shape { spus: 9, ..shape() }),
        before,
        "more SPUs are no reason to start the SC anew"
    );
}
