//! The pod of a server: no root, no capability, nothing writable but its volume, no token.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapProjection, Container, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
    ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext,
    Volume, VolumeMount, VolumeProjection, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::secrets::content_name;
use super::sizes::Share;
use super::{Shape, Site, config_map, service_account};
use crate::config::KubernetesConfig;
use crate::kubernetes::names;

/// The user and group that servers run as.
const USER: i64 = 65_532;
/// What a server has for its orderly end.
const END_SECONDS: i64 = 30;
/// In the pod template: the hash of the configuration file, so that another file is another pod.
const CONFIG: &str = "fluvio-cloud/config";
/// The volume with the data.
pub const VOLUME: &str = "data";

/// What differs between an SC's pod and an SPU's.
pub struct Server<'a> {
    /// `sc` or `spu`.
    pub role: &'a str,
    /// Name and text of its configuration file.
    pub file: (&'static str, String),
    /// What it gets.
    pub share: Share,
    /// The zone that it is bound to.
    pub zone: Option<&'a str>,
}

/// Labels by which a StatefulSet finds its pods.
pub fn selector(role: &str, zone: Option<&str>) -> BTreeMap<String, String> {
    let role = (names::ROLE.to_owned(), role.to_owned());
    std::iter::once(role).chain(zone.map(|zone| ("fluvio-cloud/zone".into(), zone.into()))).collect()
}

/// Builds the template of a server's pods.
pub fn template(site: &Site, shape: &Shape, server: &Server<'_>, internal: &str) -> PodTemplateSpec {
    let mut labels = names::labels(&site.region, shape.cluster);
    labels.extend(selector(server.role, server.zone));
    let hash = content_name("config", [server.file.1.as_bytes()]);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(CONFIG.into(), hash)])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(&site.config, server, internal)),
    }
}

fn spec(config: &KubernetesConfig, server: &Server<'_>, internal: &str) -> PodSpec {
    let zone = |zone: &str| BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), zone.to_owned())]);
    PodSpec {
        service_account_name: Some(service_account::NAME.into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        priority_class_name: Some(config.priority_class.clone()),
        termination_grace_period_seconds: Some(END_SECONDS),
        node_selector: server.zone.map(zone),
        affinity: Some(apart()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(config, server)],
        volumes: Some(vec![files(server.file.0, internal)]),
        ..PodSpec::default()
    }
}

/// One machine may hold all servers of a cluster, but only where there is no other.
fn apart() -> Affinity {
    let others = PodAffinityTerm {
        topology_key: "kubernetes.io/hostname".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(names::MANAGED_BY.into(), names::MANAGER.into())])),
            ..LabelSelector::default()
        }),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: others,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn container(config: &KubernetesConfig, server: &Server<'_>) -> Container {
    let file = format!("{}/{}", config_map::FOLDER, server.file.0);
    let mut command = vec!["fluvio-cluster".to_owned(), server.role.to_owned(), "--config".to_owned(), file];
    let mut env = None;
    if server.role == "spu" {
        command.extend(["--name".to_owned(), "$(POD_NAME)".to_owned()]);
        env = Some(vec![pod_name()]);
    }
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only,
        ..VolumeMount::default()
    };
    Container {
        name: server.role.into(),
        image: Some(config.image.clone()),
        image_pull_policy: Some(config.image_pull_policy.clone()),
        command: Some(command),
        env,
        resources: Some(ResourceRequirements {
            requests: Some(server.share.requests()),
            limits: Some(server.share.limits()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount(VOLUME, config_map::DATA, None),
            mount("files", config_map::FOLDER, Some(true)),
        ]),
        // Often at first, since a start takes milliseconds; and long, since a large log takes its time.
        startup_probe: Some(probe("/livez", 1, 600)),
        readiness_probe: Some(probe("/readyz", 5, 3)),
        liveness_probe: Some(probe("/livez", 20, 3)),
        ..Container::default()
    }
}

fn pod_name() -> EnvVar {
    let field = ObjectFieldSelector { field_path: "metadata.name".into(), api_version: None };
    EnvVar {
        name: "POD_NAME".into(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(i32::from(names::PROBE)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

/// Configuration and internal identity, one folder: the group may read, nobody may write.
fn files(file: &str, internal: &str) -> Volume {
    let item = |key: &str, path: String| KeyToPath { key: key.into(), path, mode: Some(0o440) };
    let config = ConfigMapProjection {
        name: config_map::NAME.into(),
        items: Some(vec![item(file, file.into())]),
        optional: None,
    };
    let identity = SecretProjection {
        name: internal.into(),
        items: Some(["tls.crt", "tls.key", "ca.crt"].map(|key| item(key, format!("internal/{key}"))).into()),
        optional: None,
    };
    let sources = vec![
        VolumeProjection { config_map: Some(config), ..VolumeProjection::default() },
        VolumeProjection { secret: Some(identity), ..VolumeProjection::default() },
    ];
    Volume {
        name: "files".into(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o440) }),
        ..Volume::default()
    }
}
