//! Who reaches whom, worked out from the rendered policies: nothing on one machine enforces them, so their meaning
//! is checked.

use std::net::IpAddr;

use e2e::chart::{NAMESPACE, Rendered, value_set};
use serde_json::{Map, Value, json};

/// One end of a connection.
enum End<'a> {
    Pod { namespace: &'a str, namespace_labels: Value, labels: Value },
    Address(IpAddr),
}

fn holds(selector: &Value, labels: &Value) -> bool {
    // The chart uses matchLabels only; another form would match nothing here and be seen.
    let wanted = selector["matchLabels"].as_object();
    let keys = selector.as_object().map_or(0, Map::len);
    match wanted {
        Some(wanted) => keys == 1 && wanted.iter().all(|(key, value)| labels[key] == *value),
        None => keys == 0,
    }
}

fn contains(network: &str, address: IpAddr) -> bool {
    let (IpAddr::V4(address), Some((start, bits))) = (address, network.split_once('/')) else { return false };
    let (Ok(start), Ok(bits)) = (start.parse::<std::net::Ipv4Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(start) & mask == u32::from(address) & mask
}

/// Whether a peer of a policy in our namespace is this end. An address is a peer by its network only, and a pod
/// by its labels only: which address a pod has is nobody's choice.
fn is_peer(peer: &Value, end: &End<'_>) -> bool {
    match end {
        End::Address(address) => {
            let block = &peer["ipBlock"];
            let within =
                |network: &Value| network.as_str().is_some_and(|network| contains(network, *address));
            within(&block["cidr"]) && !block["except"].as_array().into_iter().flatten().any(within)
        }
        End::Pod { namespace, namespace_labels, labels } => {
            let in_namespace = match &peer["namespaceSelector"] {
                Value::Null => *namespace == NAMESPACE,
                selector => holds(selector, namespace_labels),
            };
            peer["ipBlock"].is_null() && in_namespace && holds_or_absent(&peer["podSelector"], labels)
        }
    }
}

fn holds_or_absent(selector: &Value, labels: &Value) -> bool {
    selector.is_null() || holds(selector, labels)
}

/// Whether the policies of our namespace let `pod` (its labels) and `end` talk on a TCP port of the listener.
fn allowed(rendered: &Rendered, pod: &Value, direction: &str, end: &End<'_>, port: u16) -> bool {
    let (rules, peers, kind) = match direction {
        "in" => ("ingress", "from", "Ingress"),
        _ => ("egress", "to", "Egress"),
    };
    let mut selected = rendered
        .kind("NetworkPolicy")
        .filter(|policy| {
            let types = policy["spec"]["policyTypes"].as_array().into_iter().flatten();
            types.into_iter().any(|each| each == kind) && holds(&policy["spec"]["podSelector"], pod)
        })
        .peekable();
    if selected.peek().is_none() {
        return true;
    }
    selected.any(|policy| {
        policy["spec"][rules].as_array().into_iter().flatten().any(|rule| {
            let on_port = |each: &Value| each["protocol"] == "TCP" && each["port"] == port;
            // Without ports a rule means all of them.
            rule["ports"].as_array().is_none_or(|ports| ports.iter().any(on_port))
                && rule[peers].as_array().is_some_and(|list| list.iter().any(|peer| is_peer(peer, end)))
        })
    })
}

fn ours(program: &str) -> End<'static> {
    End::Pod {
        namespace: NAMESPACE,
        namespace_labels: json!({"kubernetes.io/metadata.name": NAMESPACE}),
        labels: labels(program),
    }
}

fn labels(program: &str) -> Value {
    json!({"app.kubernetes.io/name": program, "app.kubernetes.io/part-of": "fluvio-cloud"})
}

fn tenant(role: &str) -> End<'static> {
    End::Pod {
        namespace: "fluvio-0123",
        namespace_labels: json!({"kubernetes.io/metadata.name": "fluvio-0123", "fluvio-cloud/tenant": "true"}),
        labels: json!({"fluvio-cloud/role": role}),
    }
}

fn stranger(namespace: &'static str, labels: Value) -> End<'static> {
    End::Pod { namespace, namespace_labels: json!({"kubernetes.io/metadata.name": namespace}), labels }
}

const PROGRAMS: [&str; 5] = ["portal", "gateway", "provisioner", "signer", "postgres"];
const PORTS: [u16; 10] = [53, 443, 587, 5432, 6443, 8443, 9003, 9005, 9020, 9443];

#[test]
fn programs_reach_each_other_only_where_they_have_business() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("least")?, &[])?;
    for from in PROGRAMS {
        for to in PROGRAMS {
            for port in PORTS {
                let both = allowed(&rendered, &labels(from), "out", &ours(to), port)
                    && allowed(&rendered, &labels(to), "in", &ours(from), port);
                let business = (to == "postgres" && from != "postgres" && port == 5432)
                    || (from == "provisioner" && to == "gateway" && port == 9443);
                assert_eq!(both, business, "{from} to {to}:{port}");
            }
        }
    }
    Ok(())
}

#[test]
fn tenants_are_reached_on_the_ports_that_a_program_needs_and_reach_nobody() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("least")?, &[])?;
    for program in PROGRAMS {
        for role in ["sc", "spu", "other"] {
            for port in PORTS {
                let needed = matches!(
                    (program, role, port),
                    ("gateway", "sc", 9003) | ("gateway", "spu", 9005) | ("provisioner", "sc", 9020)
                );
                let out = allowed(&rendered, &labels(program), "out", &tenant(role), port);
                assert_eq!(out, needed, "{program} to a tenant's {role}:{port}");
                let back = allowed(&rendered, &labels(program), "in", &tenant(role), port);
                assert!(!back, "a tenant's {role} to {program}:{port}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_world_reaches_portal_and_gateway_only_and_nobody_reaches_the_metadata_service() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("least")?, &[])?;
    let world = || End::Address(IpAddr::from([203, 0, 113, 9]));
    let metadata = || End::Address(IpAddr::from([169, 254, 169, 254]));
    for program in PROGRAMS {
        for port in PORTS {
            let open = matches!((program, port), ("portal", 8443) | ("gateway", 9443));
            assert_eq!(allowed(&rendered, &labels(program), "in", &world(), port), open, "{program}:{port}");
            let out = matches!((program, port), ("portal", 587) | ("provisioner", 443 | 6443));
            assert_eq!(
                allowed(&rendered, &labels(program), "out", &world(), port),
                out,
                "{program} out {port}"
            );
            assert!(!allowed(&rendered, &labels(program), "out", &metadata(), port), "{program} to metadata");
        }
        // Port 80 is where a machine's metadata is served.
        assert!(!allowed(&rendered, &labels(program), "out", &metadata(), 80));
        let foreign = stranger("elsewhere", labels("portal"));
        for port in PORTS {
            assert!(
                !allowed(&rendered, &labels(program), "in", &foreign, port),
                "elsewhere to {program}:{port}"
            );
        }
    }
    let unknown = json!({"app": "something else in our namespace"});
    assert!(!allowed(&rendered, &unknown, "out", &ours("postgres"), 5432));
    assert!(!allowed(&rendered, &labels("postgres"), "in", &stranger(NAMESPACE, unknown), 5432));
    Ok(())
}

#[test]
fn values_narrow_who_comes_in_and_open_metrics_to_one_namespace() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("fleet")?, &[])?;
    let from = |last: [u8; 4]| End::Address(IpAddr::from(last));
    assert!(allowed(&rendered, &labels("portal"), "in", &from([192, 0, 2, 1]), 8443));
    assert!(!allowed(&rendered, &labels("portal"), "in", &from([203, 0, 113, 9]), 8443));
    for program in PROGRAMS {
        let scraped = ["gateway", "provisioner"].contains(&program);
        let scraper = stranger("monitoring", json!({}));
        assert_eq!(allowed(&rendered, &labels(program), "in", &scraper, 9090), scraped, "{program}");
        assert!(
            !allowed(&rendered, &labels(program), "in", &stranger("default", json!({})), 9090),
            "{program}"
        );
    }
    // Where the database is elsewhere, its port is the way to it; the API server's network is as given.
    assert!(allowed(&rendered, &labels("signer"), "out", &from([203, 0, 113, 9]), 5433));
    assert!(allowed(&rendered, &labels("provisioner"), "out", &from([10, 0, 0, 1]), 6443));
    assert!(!allowed(&rendered, &labels("provisioner"), "out", &from([203, 0, 113, 9]), 6443));
    Ok(())
}

#[test]
fn without_policies_there_are_none() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("addresses")?, &[])?;
    assert_eq!(rendered.kind("NetworkPolicy").count(), 0);
    Ok(())
}
