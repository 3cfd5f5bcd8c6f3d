//! Nodes are emptied one SPU at a time: the in-sync set of a partition of three survives that.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Shape, Site, metadata};
use crate::kubernetes::names;

/// Its name.
pub const NAME: &str = "spus";

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(site, shape, NAME),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::from([(names::ROLE.into(), "spu".into())])),
                ..LabelSelector::default()
            }),
            // A pod that cannot serve is no reason to keep a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
