//! What one container or volume of a tenant may ask for, and what it gets without asking.

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec};
use std::collections::BTreeMap;

use super::sizes::{self, gibibytes};
use super::{Shape, Site, metadata};

/// Its name.
pub const NAME: &str = "tenant";

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> LimitRange {
    let sizes = sizes::of(shape.plan);
    // The larger of both kinds of servers in each respect.
    let max = sizes::Share {
        cpu_limit: sizes.sc.cpu_limit.max(sizes.spu.cpu_limit),
        memory_limit: sizes.sc.memory_limit.max(sizes.spu.memory_limit),
        ..sizes.spu
    };
    let containers = LimitRangeItem {
        type_: "Container".into(),
        default: Some(sizes.sc.limits()),
        default_request: Some(sizes.sc.requests()),
        max: Some(max.limits()),
        ..LimitRangeItem::default()
    };
    let volumes = LimitRangeItem {
        type_: "PersistentVolumeClaim".into(),
        max: Some(BTreeMap::from([("storage".into(), gibibytes(sizes.sc.volume.max(sizes.spu.volume)))])),
        ..LimitRangeItem::default()
    };
    LimitRange {
        metadata: metadata(site, shape, NAME),
        spec: Some(LimitRangeSpec { limits: vec![containers, volumes] }),
    }
}
