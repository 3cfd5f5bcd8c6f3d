//! The objects of one tenant's cluster, each built by a pure function from what is wanted.
//!
//! No builder knows of the API server: what is here can be printed (`provisioner render`), compared with what
//! is live, and checked over every plan, zone and number of SPUs.

mod config_map;
mod disruption_budget;
mod limit_range;
mod namespace;
mod network_policies;
mod pod;
mod prints;
mod resource_quota;
mod role_binding;
pub mod secrets;
mod service_account;
mod services;
pub mod sizes;
mod stateful_sets;

pub use config_map::internal_name;
pub use prints::Prints;
pub use stateful_sets::claim_of;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::names;
use crate::config::KubernetesConfig;
use crate::store::Plan;

/// The kinds that the provisioner writes and watches, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Of a tenant.
    Namespace,
    /// Lets the provisioner write in the namespace.
    RoleBinding,
    /// What the namespace may use.
    ResourceQuota,
    /// What one container may use.
    LimitRange,
    /// Who may talk with whom.
    NetworkPolicy,
    /// Of the pods, without a token.
    ServiceAccount,
    /// The servers' configuration files.
    ConfigMap,
    /// Where the servers are found.
    Service,
    /// How many may be away at the same time.
    DisruptionBudget,
    /// The servers.
    StatefulSet,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 10] = [
        Kind::Namespace,
        Kind::RoleBinding,
        Kind::ResourceQuota,
        Kind::LimitRange,
        Kind::NetworkPolicy,
        Kind::ServiceAccount,
        Kind::ConfigMap,
        Kind::Service,
        Kind::DisruptionBudget,
        Kind::StatefulSet,
    ];
}

/// One object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl Ref {
    fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// What is the same for every cluster that a provisioner keeps.
#[derive(Debug, Clone)]
pub struct Site {
    /// The region.
    pub region: String,
    /// The configuration.
    pub config: KubernetesConfig,
}

/// What the objects of one cluster are made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The cluster.
    pub cluster: Uuid,
    /// The organisation that owns it.
    pub tenant: Uuid,
    /// Its TLS name.
    pub domain: String,
    /// The size of its servers.
    pub plan: Plan,
    /// SPUs that have objects.
    pub spus: u8,
    /// `false`: its servers rest.
    pub runs: bool,
    /// The Secret with the servers' internal identity, once it is there.
    pub internal: Option<String>,
}

/// The objects that a cluster has, in the order in which they are written. The StatefulSets come with the
/// Secret that their pods need.
pub fn all(site: &Site, shape: &Shape) -> Vec<Ref> {
    let zones = &site.config.zones;
    let mut refs = vec![
        Ref::new(Kind::Namespace, names::namespace(shape.cluster)),
        Ref::new(Kind::RoleBinding, role_binding::NAME),
        Ref::new(Kind::ResourceQuota, resource_quota::NAME),
        Ref::new(Kind::LimitRange, limit_range::NAME),
    ];
    refs.extend(network_policies::NAMES.map(|name| Ref::new(Kind::NetworkPolicy, name)));
    refs.push(Ref::new(Kind::ServiceAccount, service_account::NAME));
    refs.push(Ref::new(Kind::ConfigMap, config_map::NAME));
    refs.extend([services::SC, services::SERVERS].map(|name| Ref::new(Kind::Service, name)));
    refs.extend(names::spus(shape.spus, zones).iter().map(|spu| Ref::new(Kind::Service, spu.service())));
    refs.push(Ref::new(Kind::DisruptionBudget, disruption_budget::NAME));
    if shape.internal.is_some() {
        refs.push(Ref::new(Kind::StatefulSet, stateful_sets::SC));
        refs.extend(
            names::sets(shape.spus, zones).into_iter().map(|(set, _)| Ref::new(Kind::StatefulSet, set)),
        );
    }
    refs
}

/// Builds one of a cluster's objects; `None` for what the cluster does not have.
pub fn build(site: &Site, shape: &Shape, object: &Ref) -> Option<Value> {
    let name = object.name.as_str();
    match object.kind {
        Kind::Namespace if name == names::namespace(shape.cluster) => value(&namespace::build(site, shape)),
        Kind::RoleBinding if name == role_binding::NAME => value(&role_binding::build(site, shape)),
        Kind::ResourceQuota if name == resource_quota::NAME => value(&resource_quota::build(site, shape)),
        Kind::LimitRange if name == limit_range::NAME => value(&limit_range::build(site, shape)),
        Kind::NetworkPolicy => value(&network_policies::build(site, shape, name)?),
        Kind::ServiceAccount if name == service_account::NAME => value(&service_account::build(site, shape)),
        Kind::ConfigMap if name == config_map::NAME => value(&config_map::build(site, shape)),
        Kind::Service => value(&services::build(site, shape, name)?),
        Kind::DisruptionBudget if name == disruption_budget::NAME => {
            value(&disruption_budget::build(site, shape))
        }
        Kind::StatefulSet => value(&stateful_sets::build(site, shape, name)?),
        _ => None,
    }
}

/// The API's own types always have a JSON form.
fn value(object: &impl Serialize) -> Option<Value> {
    serde_json::to_value(object).ok()
}

/// The metadata of an object in a cluster's namespace.
fn metadata(site: &Site, shape: &Shape, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(names::namespace(shape.cluster)),
        labels: Some(names::labels(&site.region, shape.cluster)),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
pub(crate) mod tests;
