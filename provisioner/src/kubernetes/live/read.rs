//! Reads the few facts out of a live object.

use std::net::IpAddr;
use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;
use uuid::Uuid;

use super::super::names::{ORPHANED, SPUS};
use super::{PodFacts, PodTrouble, SetFacts};

/// Name, uid and version of an object.
pub fn identity(object: &DynamicObject) -> Option<(Arc<str>, Uuid, u64)> {
    let metadata = &object.metadata;
    let uid = Uuid::try_parse(metadata.uid.as_deref()?).ok()?;
    let version = metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
    let name = metadata.name.as_deref()?;
    // A namespace or a volume has a name of its own.
    let own = name.len() > 30 || metadata.namespace.is_none();
    let name = if own { name.into() } else { super::names::shared(name) };
    Some((name, uid, version.unwrap_or(0)))
}

/// SPUs that the cluster was given objects for.
pub fn spus(namespace: &DynamicObject) -> Option<u8> {
    namespace.metadata.annotations.as_ref()?.get(SPUS)?.parse().ok()
}

/// Since when the namespace's cluster does not exist.
pub fn orphaned(namespace: &DynamicObject) -> Option<i64> {
    namespace.metadata.annotations.as_ref()?.get(ORPHANED)?.parse().ok()
}

/// The API server counts against the quota as it is written.
pub fn quota_in_force(quota: &Value) -> bool {
    let hard = &quota["spec"]["hard"];
    hard.is_object() && quota["status"]["hard"] == *hard
}

/// The address of a Service; the headless one has none.
pub fn address(service: &Value) -> Option<IpAddr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

/// A StatefulSet's state.
pub fn set(object: &DynamicObject) -> SetFacts {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let count = |of: &Value, name: &str| of[name].as_i64().map_or(0, |count| count as i32);
    let observed = status["observedGeneration"].as_i64().unwrap_or(0);
    // While all pods are of one template, the controller tells it as the current one.
    let one_template = status["currentRevision"] == status["updateRevision"];
    let existing = count(status, "replicas");
    SetFacts {
        replicas: spec["replicas"].as_i64().map_or(1, |count| count as i32),
        existing,
        ready: count(status, "readyReplicas"),
        updated: if one_template { existing } else { count(status, "updatedReplicas") },
        observed: observed >= object.metadata.generation.unwrap_or(i64::MAX),
        internal: mounted_identity(&spec["template"]["spec"]),
    }
}

fn mounted_identity(pod: &Value) -> Option<Arc<str>> {
    let sources =
        pod["volumes"].as_array()?.iter().filter_map(|volume| volume["projected"]["sources"].as_array());
    sources.flatten().find_map(|source| source["secret"]["name"].as_str()).map(Arc::from)
}

/// A pod's state.
pub fn pod(object: &DynamicObject) -> PodFacts {
    let status = &object.data["status"];
    let condition = |name: &str| {
        let conditions = status["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let container = &status["containerStatuses"][0];
    PodFacts {
        started: container["state"]["running"].is_object(),
        ready: condition("Ready")["status"] == "True",
        ending: object.metadata.deletion_timestamp.is_some(),
        restarts: container["restartCount"].as_i64().map_or(0, |count| count as i32),
        trouble: trouble(container, &condition("PodScheduled")),
    }
}

fn trouble(container: &Value, scheduled: &Value) -> Option<(PodTrouble, Box<str>)> {
    let words = |of: &Value| {
        let text = of["message"].as_str().or_else(|| of["reason"].as_str()).unwrap_or_default();
        text.chars().take(200).collect::<String>().into_boxed_str()
    };
    // A pod whose volume is still being made is not without room.
    let unbound = scheduled["message"].as_str().is_some_and(|text| text.contains("PersistentVolumeClaim"));
    if scheduled["reason"] == "Unschedulable" && !unbound {
        return Some((PodTrouble::Unschedulable, words(scheduled)));
    }
    let waiting = &container["state"]["waiting"];
    let ended = [&container["state"]["terminated"], &container["lastState"]["terminated"]];
    let killed = ended.into_iter().find(|ended| ended["reason"] == "OOMKilled");
    match waiting["reason"].as_str() {
        Some("ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull") => {
            Some((PodTrouble::Image, words(waiting)))
        }
        Some("CrashLoopBackOff") if killed.is_some() => Some((PodTrouble::OutOfMemory, words(waiting))),
        Some("CrashLoopBackOff") => Some((PodTrouble::Crashing, words(waiting))),
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            Some((PodTrouble::Setup, words(waiting)))
        }
        _ => None,
    }
}

/// Whether a claim has its volume.
pub fn is_bound(claim: &Value) -> bool {
    claim["status"]["phase"] == "Bound"
}

/// The namespace whose claim a volume serves.
pub fn claimed_from(volume: &Value) -> Option<&str> {
    volume["spec"]["claimRef"]["namespace"].as_str()
}
