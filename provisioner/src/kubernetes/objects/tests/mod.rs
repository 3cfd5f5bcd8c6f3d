//! What holds for the objects of every plan, number of SPUs and set of zones.

mod network;
mod pods;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::kubernetes::live::covers_object;

/// A region with these zones.
pub fn site(zones: &[&str]) -> Site {
    let text = r#"
        image = "localhost/fluvio-cloud/cluster:0.1.0"
        gateway_namespace = "fluvio-cloud"
        gateway_labels = { "app.kubernetes.io/name" = "gateway" }
        provisioner_namespace = "fluvio-cloud"
        provisioner_labels = { "app.kubernetes.io/name" = "provisioner" }
        scrape_namespace = "monitoring"
    "#;
    let mut config: KubernetesConfig = toml::from_str(text).unwrap();
    config.zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
    Site { region: "home".into(), config }
}

/// A cluster of one small SPU that runs.
pub fn shape() -> Shape {
    Shape {
        cluster: Uuid::from_u128(0xc1),
        tenant: Uuid::from_u128(0x7e),
        domain: "blue-fox.fluvio.example".into(),
        plan: Plan::Small,
        spus: 1,
        runs: true,
        internal: Some("internal-0123456789".into()),
    }
}

prop_compose! {
    /// Any region.
    pub fn sites()(count in 0_usize..4) -> Site {
        site(&["a1", "a2", "a3"][..count])
    }
}

prop_compose! {
    /// Any cluster.
    pub fn shapes()(id in any::<u128>(), tenant in any::<u128>(), plan in 0_usize..3, spus in 1_u8..=9, runs in any::<bool>()) -> Shape {
        Shape {
            cluster: Uuid::from_u128(id),
            tenant: Uuid::from_u128(tenant),
            plan: Plan::ALL[plan].0,
            spus,
            runs,
            ..shape()
        }
    }
}

/// So many cases, and no file about a failure in the tree.
pub fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Everything that a cluster has, built.
pub fn built(site: &Site, shape: &Shape) -> Vec<(Ref, Value)> {
    let build = |object: Ref| {
        let value = build(site, shape, &object);
        (object.clone(), value.unwrap_or_else(|| panic!("{object:?} is named and not built")))
    };
    all(site, shape).into_iter().map(build).collect()
}

/// Every text in a value that is not the value of one of these keys.
fn texts<'a>(value: &'a Value, except: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, except, found)),
        Value::Object(fields) => {
            let others = fields.iter().filter(|(key, _)| *key != except);
            others.for_each(|(_, value)| texts(value, except, found));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_object_is_where_it_says_and_says_whose_it_is(site in sites(), shape in shapes()) {
        let mut seen = BTreeSet::new();
        for (object, value) in built(&site, &shape) {
            prop_assert!(seen.insert(object.clone()), "{object:?} twice");
            let metadata = &value["metadata"];
            prop_assert_eq!(metadata["name"].as_str(), Some(object.name.as_str()));
            if object.kind != Kind::Namespace {
                let home = names::namespace(shape.cluster);
                prop_assert_eq!(metadata["namespace"].as_str(), Some(home.as_str()));
            }
            for (label, wanted) in names::labels("home", shape.cluster) {
                prop_assert_eq!(metadata["labels"][&label].as_str(), Some(wanted.as_str()), "{:?}", object);
            }
            let live = serde_json::from_value(value.clone()).unwrap();
            prop_assert!(covers_object(&value, &live), "{object:?} does not cover itself");
        }
    }

    /// K6: names come from the server's ids, and what a tenant is called is in no object but the servers' own
    /// configuration.
    #[test]
    fn names_come_from_ids_and_nothing_of_the_tenant_is_in_any_other_place(site in sites(), shape in shapes()) {
        for (object, value) in built(&site, &shape) {
            let name = &object.name;
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            prop_assert!(name.len() <= 52 && name.chars().all(plain), "{name}");
            let mut found = Vec::new();
            texts(&value, "data", &mut found);
            prop_assert!(!found.iter().any(|text| text.contains("blue-fox")), "{object:?}");
        }
    }

    #[test]
    fn every_server_has_its_service_and_every_service_its_server(site in sites(), shape in shapes()) {
        let spus = names::spus(shape.spus, &site.config.zones);
        let names: BTreeSet<&str> = spus.iter().map(|spu| spu.name.as_str()).collect();
        prop_assert_eq!(names.len(), usize::from(shape.spus));
        for spu in &spus {
            let service = build(&site, &shape, &Ref::new(Kind::Service, spu.service())).unwrap();
            prop_assert_eq!(
                service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"].as_str(),
                Some(spu.name.as_str())
            );
        }
        let mut pods = BTreeSet::new();
        for (set, replicas) in names::sets(shape.spus, &site.config.zones) {
            pods.extend((0..replicas).map(|ordinal| format!("{set}-{ordinal}")));
        }
        prop_assert_eq!(pods.iter().map(String::as_str).collect::<BTreeSet<_>>(), names);
        for beyond in ["spu-main-9", "spu-a1-9", "other"] {
            prop_assert!(build(&site, &shape, &Ref::new(Kind::Service, beyond)).is_none(), "{beyond}");
        }
    }
}

#[test]
fn a_namespace_is_held_to_the_restricted_standard_of_one_version() {
    let namespace = build(&site(&[]), &shape(), &all(&site(&[]), &shape())[0]).unwrap();
    for mode in ["enforce", "audit", "warn"] {
        let label = |suffix: &str| {
            namespace["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}{suffix}")].clone()
        };
        assert_eq!(label(""), "restricted");
        assert_eq!(label("-version"), "v1.34");
    }
    assert_eq!(namespace["metadata"]["labels"]["fluvio-cloud/tenant"], "true");
    assert_eq!(namespace["metadata"]["annotations"]["fluvio-cloud/spus"], "1");
}

#[test]
fn no_pod_starts_before_its_identity_is_there() {
    let waiting = Shape { internal: None, ..shape() };
    assert!(all(&site(&[]), &waiting).iter().all(|object| object.kind != Kind::StatefulSet));
    assert!(build(&site(&[]), &waiting, &Ref::new(Kind::StatefulSet, "sc")).is_none());
}

#[test]
fn the_binding_gives_the_provisioner_one_role_in_one_namespace() {
    let binding = build(&site(&[]), &shape(), &Ref::new(Kind::RoleBinding, "provisioner")).unwrap();
    assert_eq!(binding["roleRef"]["kind"], "ClusterRole");
    assert_eq!(binding["roleRef"]["name"], "fluvio-cloud-tenant");
    let subjects = binding["subjects"].as_array().unwrap();
    assert_eq!(subjects.len(), 1);
    assert_eq!(subjects[0]["name"], "provisioner");
    assert_eq!(subjects[0]["namespace"], "fluvio-cloud");
}

#[test]
fn a_secret_is_named_by_its_content_and_says_no_key_in_its_name() {
    let (site, shape) = (site(&[]), shape());
    let secret = |key: &str| {
        let identity = secrets::Identity { certificate: "CERT", key, ca: "CA" };
        let end = time::OffsetDateTime::UNIX_EPOCH;
        secrets::identity(&site, &shape, secrets::Use::Server, &identity, end)
    };
    let name = |key| secret(key).metadata.name.unwrap();
    assert_eq!(name("a"), name("a"));
    assert_ne!(name("a"), name("b"));
    assert!(name("a").starts_with("server-") && name("a").len() == "server-".len() + 10, "{}", name("a"));
    assert_eq!(secret("a").immutable, Some(true));
}
