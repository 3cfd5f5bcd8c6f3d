//! A tenant's namespace: held to the restricted Pod Security standard of one version.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Shape, Site};
use crate::kubernetes::names;

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> Namespace {
    let mut labels = names::labels(&site.region, shape.cluster);
    labels.insert(names::TENANT.into(), "true".into());
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".into());
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}-version"),
            site.config.pod_security_version.clone(),
        );
    }
    Namespace {
        metadata: ObjectMeta {
            name: Some(names::namespace(shape.cluster)),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(names::SPUS.to_owned(), shape.spus.to_string())])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}
