//! What only the runtime `kubernetes` needs: the table `[kubernetes]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::ensure;
use serde::Deserialize;

/// The table `[kubernetes]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// How to reach the API server; without it, as a pod does.
    pub kubeconfig_file: Option<PathBuf>,
    /// The image of SC and SPU.
    pub image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    #[serde(default = "default_image_pull_policy")]
    pub image_pull_policy: String,
    /// Class of the tenants' volumes; without it, the cluster's default.
    pub storage_class: Option<String>,
    /// Zones over which SPUs are spread, in the order in which they are filled.
    #[serde(default)]
    pub zones: Vec<String>,
    /// Where the gateways run.
    pub gateway_namespace: String,
    /// The gateways' pods.
    pub gateway_labels: BTreeMap<String, String>,
    /// Where provisioners run.
    pub provisioner_namespace: String,
    /// The provisioners' pods.
    #[serde(default = "default_provisioner_labels")]
    pub provisioner_labels: BTreeMap<String, String>,
    /// The namespace that may read the servers' metrics.
    pub scrape_namespace: Option<String>,
    /// Where names are resolved.
    #[serde(default = "default_dns_namespace")]
    pub dns_namespace: String,
    /// The pods that resolve names.
    #[serde(default = "default_dns_labels")]
    pub dns_labels: BTreeMap<String, String>,
    /// Priority of the tenants' pods.
    #[serde(default = "default_role")]
    pub priority_class: String,
    /// What the provisioner may do within a tenant's namespace.
    #[serde(default = "default_role")]
    pub tenant_cluster_role: String,
    /// Who the provisioner is, in `provisioner_namespace`.
    #[serde(default = "default_service_account")]
    pub service_account: String,
    /// `host:port` of a gateway, for the proof that a client gets through; else the public one.
    pub gateway_address: Option<String>,
    /// The Pod Security version that tenants' namespaces are held to.
    #[serde(default = "default_pod_security_version")]
    pub pod_security_version: String,
    /// How often a cluster that runs is asked how it is.
    #[serde(default = "default_health_seconds")]
    pub health_seconds: u64,
    /// How often a cluster's Secrets are looked at.
    #[serde(default = "default_secrets_seconds")]
    pub secrets_seconds: u64,
    /// Requests to the API server at the same time.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// Clusters whose servers are renewed at the same time.
    #[serde(default = "default_rolls")]
    pub rolls: usize,
}

fn default_image_pull_policy() -> String {
    "IfNotPresent".into()
}

fn default_role() -> String {
    "fluvio-cloud-tenant".into()
}

fn default_service_account() -> String {
    "provisioner".into()
}

fn default_provisioner_labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/component".into(), "provisioner".into())])
}

fn default_dns_namespace() -> String {
    "kube-system".into()
}

fn default_dns_labels() -> BTreeMap<String, String> {
    BTreeMap::from([("k8s-app".into(), "kube-dns".into())])
}

fn default_pod_security_version() -> String {
    "v1.34".into()
}

fn default_health_seconds() -> u64 {
    60
}

fn default_secrets_seconds() -> u64 {
    600
}

fn default_workers() -> usize {
    32
}

fn default_rolls() -> usize {
    10
}

/// Longest zone: it is the name of a StatefulSet, whose pods carry it and 11 more bytes in a label.
const MAX_ZONE: usize = 40;

impl KubernetesConfig {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.image.is_empty(), "kubernetes.image names no image");
        ensure!(!self.gateway_labels.is_empty(), "kubernetes.gateway_labels would mean every pod");
        ensure!(!self.provisioner_labels.is_empty(), "kubernetes.provisioner_labels would mean every pod");
        ensure!(
            ["IfNotPresent", "Always", "Never"].contains(&self.image_pull_policy.as_str()),
            "kubernetes.image_pull_policy is IfNotPresent, Always or Never"
        );
        for zone in &self.zones {
            let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            ensure!(
                zone.len() <= MAX_ZONE
                    && zone.starts_with(|c: char| c.is_ascii_lowercase())
                    && !zone.ends_with('-')
                    && zone.chars().all(label)
                    && zone != "sc",
                "kubernetes.zones: {zone:?} is not a name of lower-case letters, digits and hyphens"
            );
        }
        let distinct: BTreeSet<&String> = self.zones.iter().collect();
        ensure!(distinct.len() == self.zones.len(), "kubernetes.zones names a zone twice");
        for (name, value) in [
            ("health_seconds", self.health_seconds),
            ("secrets_seconds", self.secrets_seconds),
            ("workers", self.workers as u64),
            ("rolls", self.rolls as u64),
        ] {
            ensure!(value > 0, "kubernetes.{name} must be positive");
        }
        Ok(())
    }
}
