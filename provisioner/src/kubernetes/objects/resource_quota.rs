//! What a tenant's namespace may use: exactly what its servers need, and nothing that opens a port of the
//! nodes or costs an address.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::sizes::{self, EPHEMERAL, gibibytes, mebibytes, millis};
use super::{Shape, Site, metadata};

/// Its name.
pub const NAME: &str = "tenant";

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> ResourceQuota {
    ResourceQuota {
        metadata: metadata(site, shape, NAME),
        spec: Some(ResourceQuotaSpec { hard: Some(hard(shape)), ..ResourceQuotaSpec::default() }),
        ..ResourceQuota::default()
    }
}

fn hard(shape: &Shape) -> BTreeMap<String, Quantity> {
    let sizes = sizes::of(shape.plan);
    let spus = u32::from(shape.spus);
    let count = |number: u32| Quantity(number.to_string());
    let ephemeral = mebibytes(EPHEMERAL * (spus + 1));
    BTreeMap::from([
        ("pods".into(), count(spus + 1)),
        ("requests.cpu".into(), millis(sizes.sc.cpu_request + spus * sizes.spu.cpu_request)),
        ("limits.cpu".into(), millis(sizes.sc.cpu_limit + spus * sizes.spu.cpu_limit)),
        ("requests.memory".into(), mebibytes(sizes.sc.memory_request + spus * sizes.spu.memory_request)),
        ("limits.memory".into(), mebibytes(sizes.sc.memory_limit + spus * sizes.spu.memory_limit)),
        ("requests.ephemeral-storage".into(), ephemeral.clone()),
        ("limits.ephemeral-storage".into(), ephemeral),
        ("persistentvolumeclaims".into(), count(spus + 1)),
        ("requests.storage".into(), gibibytes(sizes.sc.volume + spus * sizes.spu.volume)),
        ("services.nodeports".into(), count(0)),
        ("services.loadbalancers".into(), count(0)),
    ])
}
