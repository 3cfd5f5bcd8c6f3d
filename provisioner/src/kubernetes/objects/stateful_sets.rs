//! The servers: one StatefulSet for the SC, and one for the SPUs of each zone.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::pod::{self, Server};
use super::sizes::{self, gibibytes};
use super::{Shape, Site, config_map, metadata, services};
use crate::kubernetes::names;

/// Of the SC.
pub const SC: &str = "sc";

/// Builds one of them.
pub fn build(site: &Site, shape: &Shape, name: &str) -> Option<StatefulSet> {
    let internal = shape.internal.as_deref()?;
    let sizes = sizes::of(shape.plan);
    let (server, replicas) = if name == SC {
        (Server { role: "sc", file: config_map::sc_file(shape), share: sizes.sc, zone: None }, 1)
    } else {
        let sets = names::sets(shape.spus, &site.config.zones);
        let (_, replicas) = sets.into_iter().find(|(set, _)| set == name)?;
        let zone = site.config.zones.iter().find(|zone| *zone == name).map(String::as_str);
        (Server { role: "spu", file: config_map::spu_file(shape), share: sizes.spu, zone }, replicas)
    };
    Some(StatefulSet {
        metadata: metadata(site, shape, name),
        spec: Some(StatefulSetSpec {
            replicas: Some(if shape.runs { replicas } else { 0 }),
            service_name: Some(services::SERVERS.into()),
            // All at once at a start; an update goes pod by pod all the same.
            pod_management_policy: Some("Parallel".into()),
            revision_history_limit: Some(2),
            selector: LabelSelector {
                match_labels: Some(pod::selector(server.role, server.zone)),
                ..LabelSelector::default()
            },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(0),
                    max_unavailable: None,
                }),
            }),
            // Volumes go when their SPU is known to be empty, or with the namespace: never by a mistake here.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            template: pod::template(site, shape, &server, internal),
            volume_claim_templates: Some(vec![volume(site, shape, server.share)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    })
}

fn volume(site: &Site, shape: &Shape, share: sizes::Share) -> PersistentVolumeClaim {
    let size = BTreeMap::from([("storage".to_owned(), gibibytes(share.volume))]);
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::VOLUME.into()),
            labels: Some(names::labels(&site.region, shape.cluster)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: site.config.storage_class.clone(),
            resources: Some(VolumeResourceRequirements { requests: Some(size), limits: None }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// The volume of a pod.
pub fn claim_of(pod: &str) -> String {
    format!("{}-{pod}", pod::VOLUME)
}
