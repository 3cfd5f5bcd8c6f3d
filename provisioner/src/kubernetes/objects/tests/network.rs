//! K3: an evaluator of network policies over all pairs of pods.

use serde_json::json;

use super::*;

/// A pod, or an address outside (without a namespace).
struct Peer {
    name: &'static str,
    namespace: Option<String>,
    labels: Value,
}

/// What a tenant's cluster consists of, and everybody else.
fn peers(shapes: &[Shape; 2]) -> Vec<Peer> {
    let tenant = |name, shape: &Shape, role| Peer {
        name,
        namespace: Some(names::namespace(shape.cluster)),
        labels: json!({ "fluvio-cloud/role": role, "app.kubernetes.io/managed-by": "fluvio-cloud" }),
    };
    let pod = |name, namespace: &str, key: &str, value: &str| Peer {
        name,
        namespace: Some(namespace.into()),
        labels: json!({ key: value }),
    };
    vec![
        tenant("sc a", &shapes[0], "sc"),
        tenant("spu a", &shapes[0], "spu"),
        tenant("spu a2", &shapes[0], "spu"),
        tenant("sc b", &shapes[1], "sc"),
        tenant("spu b", &shapes[1], "spu"),
        // Somebody's pod without a role, in the first tenant's namespace.
        tenant("stray a", &shapes[0], "none"),
        pod("gateway", "fluvio-cloud", "app.kubernetes.io/name", "gateway"),
        pod("provisioner", "fluvio-cloud", "app.kubernetes.io/name", "provisioner"),
        pod("portal", "fluvio-cloud", "app.kubernetes.io/name", "portal"),
        pod("false gateway", "elsewhere", "app.kubernetes.io/name", "gateway"),
        pod("scraper", "monitoring", "app", "prometheus"),
        pod("dns", "kube-system", "k8s-app", "kube-dns"),
        pod("false dns", "kube-system", "k8s-app", "other"),
        Peer { name: "metadata 169.254.169.254", namespace: None, labels: json!({}) },
        Peer { name: "API server", namespace: None, labels: json!({}) },
    ]
}

fn selects(selector: &Value, labels: &Value) -> bool {
    assert!(selector["matchExpressions"].is_null(), "the evaluator knows labels only");
    selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value)
}

fn is_peer(rule: &Value, own: &str, peer: &Peer) -> bool {
    assert!(rule["ipBlock"].is_null(), "the evaluator knows pods only");
    let Some(namespace) = &peer.namespace else { return false };
    let at_home = match &rule["namespaceSelector"] {
        Value::Null => namespace == own,
        selector => selects(selector, &json!({ "kubernetes.io/metadata.name": namespace })),
    };
    at_home && selects(&rule["podSelector"], &peer.labels)
}

/// Whether the policies of a pod's namespace let it in one direction.
fn lets(policies: &[Value], pod: &Peer, other: &Peer, direction: &str, port: (&str, u16)) -> bool {
    let Some(own) = &pod.namespace else { return true };
    let of_pod: Vec<&Value> = policies
        .iter()
        .filter(|policy| policy["metadata"]["namespace"] == *own.as_str())
        .map(|policy| &policy["spec"])
        .filter(|spec| selects(&spec["podSelector"], &pod.labels))
        .filter(|spec| spec["policyTypes"].as_array().unwrap().iter().any(|known| known == direction))
        .collect();
    if of_pod.is_empty() {
        return true;
    }
    let (rules, peers) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
    of_pod.iter().flat_map(|spec| spec[rules].as_array().unwrap()).any(|rule| {
        let peer = rule[peers].as_array().is_none_or(|all| all.iter().any(|one| is_peer(one, own, other)));
        let port = rule["ports"].as_array().is_none_or(|all| {
            all.iter()
                .any(|one| one["protocol"] == port.0 && one["port"] == port.1 && one["endPort"].is_null())
        });
        peer && port
    })
}

#[test]
fn a_pod_reaches_what_it_needs_and_nothing_else() {
    let shapes = [shape(), Shape { cluster: Uuid::from_u128(0xb0b), ..shape() }];
    let site = site(&[]);
    let policies: Vec<Value> = shapes
        .iter()
        .flat_map(|shape| built(&site, shape))
        .filter(|(object, _)| object.kind == Kind::NetworkPolicy)
        .map(|(_, value)| value)
        .collect();
    let mut open = BTreeSet::new();
    let peers = peers(&shapes);
    let ports: Vec<(&str, u16)> = [53, 80, 443, 6443, 9003, 9005, 9010, 9011, 9020, 9030]
        .iter()
        .flat_map(|port| [("TCP", *port), ("UDP", *port)])
        .collect();
    for from in &peers {
        for to in peers.iter().filter(|to| to.name != from.name) {
            let mut through = ports.iter().filter(|port| {
                lets(&policies, from, to, "Egress", **port) && lets(&policies, to, from, "Ingress", **port)
            });
            // Pairs that no tenant is part of are not ours to close.
            let ours =
                |peer: &Peer| peer.namespace.as_deref().is_some_and(|name| names::cluster_of(name).is_some());
            if ours(from) || ours(to) {
                through.by_ref().for_each(|(protocol, port)| {
                    open.insert(format!("{} → {} {protocol} {port}", from.name, to.name));
                });
            }
        }
    }
    let mut expected = BTreeSet::new();
    for tenant in ["a", "b"] {
        expected.insert(format!("gateway → sc {tenant} TCP 9003"));
        expected.insert(format!("gateway → spu {tenant} TCP 9005"));
        expected.insert(format!("spu {tenant} → sc {tenant} TCP 9010"));
        expected.insert(format!("provisioner → sc {tenant} TCP 9020"));
        for role in ["sc", "spu"] {
            expected.insert(format!("scraper → {role} {tenant} TCP 9030"));
            expected.insert(format!("{role} {tenant} → dns TCP 53"));
            expected.insert(format!("{role} {tenant} → dns UDP 53"));
        }
    }
    for port in [9005, 9011] {
        expected.insert(format!("spu a → spu a2 TCP {port}"));
        expected.insert(format!("spu a2 → spu a TCP {port}"));
    }
    for (known, alike) in [("spu a →", "spu a2 →"), ("→ spu a ", "→ spu a2 ")] {
        let twins: Vec<String> = expected
            .iter()
            .filter(|line| line.contains(known) && !line.contains("a2"))
            .map(|line| line.replace(known, alike))
            .collect();
        expected.extend(twins);
    }
    assert_eq!(open, expected);
}
