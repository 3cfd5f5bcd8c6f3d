//! Who may talk with whom: nothing at all, but for what a cluster needs. In particular no pod reaches another
//! tenant, the API server or a cloud's metadata address.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Shape, Site, metadata};
use crate::config::KubernetesConfig;
use crate::kubernetes::names;

/// Their names.
pub const NAMES: [&str; 3] = ["nothing-else", "sc", "spu"];

/// The label that the API server gives to each namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Builds one of them.
pub fn build(site: &Site, shape: &Shape, name: &str) -> Option<NetworkPolicy> {
    let config = &site.config;
    let spec = match name {
        "nothing-else" => spec(LabelSelector::default(), Vec::new(), Vec::new()),
        "sc" => spec(role("sc"), into_sc(config), vec![to_dns(config)]),
        "spu" => spec(role("spu"), into_spu(config), out_of_spu(config)),
        _ => return None,
    };
    Some(NetworkPolicy { metadata: metadata(site, shape, name), spec: Some(spec) })
}

fn into_sc(config: &KubernetesConfig) -> Vec<NetworkPolicyIngressRule> {
    let provisioner = pods(&config.provisioner_namespace, &config.provisioner_labels);
    let rules = [
        from(gateway(config), &[names::SC_PUBLIC]),
        from(neighbours("spu"), &[names::SC_LINK]),
        from(provisioner, &[names::SC_CONTROL]),
    ];
    rules.into_iter().chain(scrape(config)).collect()
}

fn into_spu(config: &KubernetesConfig) -> Vec<NetworkPolicyIngressRule> {
    let rules = [
        from(gateway(config), &[names::SPU_PUBLIC]),
        from(neighbours("spu"), &[names::SPU_PUBLIC, names::SPU_LINK]),
    ];
    rules.into_iter().chain(scrape(config)).collect()
}

fn out_of_spu(config: &KubernetesConfig) -> Vec<NetworkPolicyEgressRule> {
    vec![
        to(neighbours("sc"), &[names::SC_LINK]),
        to(neighbours("spu"), &[names::SPU_PUBLIC, names::SPU_LINK]),
        to_dns(config),
    ]
}

fn to_dns(config: &KubernetesConfig) -> NetworkPolicyEgressRule {
    let both = ["UDP", "TCP"].map(|protocol| port(protocol, 53));
    NetworkPolicyEgressRule {
        to: Some(vec![pods(&config.dns_namespace, &config.dns_labels)]),
        ports: Some(both.into()),
    }
}

fn gateway(config: &KubernetesConfig) -> NetworkPolicyPeer {
    pods(&config.gateway_namespace, &config.gateway_labels)
}

fn scrape(config: &KubernetesConfig) -> Option<NetworkPolicyIngressRule> {
    let namespace = config.scrape_namespace.as_ref()?;
    Some(from(NetworkPolicyPeer { pod_selector: None, ..pods(namespace, &BTreeMap::new()) }, &[names::PROBE]))
}

fn from(peer: NetworkPolicyPeer, ports: &[u16]) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(vec![peer]), ports: Some(tcp(ports)) }
}

fn to(peer: NetworkPolicyPeer, ports: &[u16]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { to: Some(vec![peer]), ports: Some(tcp(ports)) }
}

fn tcp(ports: &[u16]) -> Vec<NetworkPolicyPort> {
    ports.iter().map(|number| port("TCP", *number)).collect()
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.into()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}

/// Pods of the same namespace.
fn neighbours(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(role(name)), ..NetworkPolicyPeer::default() }
}

/// Pods of another namespace, by its name.
fn pods(namespace: &str, pods: &BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labelled(BTreeMap::from([(NAMESPACE_NAME.into(), namespace.into())]))),
        pod_selector: Some(labelled(pods.clone())),
        ip_block: None,
    }
}

fn role(role: &str) -> LabelSelector {
    labelled(BTreeMap::from([(names::ROLE.into(), role.into())]))
}

fn labelled(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// Both directions are always named, with an empty list rather than none: what a policy does not name it does
/// not close, and what we do not name we would not miss.
fn spec(
    pods: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(pods),
        policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
        ingress: Some(ingress),
        egress: Some(egress),
    }
}
