//! Where a tenant's servers are found: one address for the SC, one for each SPU. The addresses stay while pods
//! come and go, so the gateway resolves nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Shape, Site, metadata};
use crate::kubernetes::names;

/// Of the SC.
pub const SC: &str = "sc";
/// Of all pods, without an address: StatefulSets name their pods under it.
pub const SERVERS: &str = "servers";

/// Builds one of them.
pub fn build(site: &Site, shape: &Shape, name: &str) -> Option<Service> {
    let role = |role: &str| BTreeMap::from([(names::ROLE.to_owned(), role.to_owned())]);
    let spec = match name {
        SC => {
            let ports =
                [("public", names::SC_PUBLIC), ("link", names::SC_LINK), ("control", names::SC_CONTROL)];
            spec(role("sc"), &ports)
        }
        SERVERS => ServiceSpec {
            cluster_ip: Some("None".into()),
            ..spec(BTreeMap::from([(names::MANAGED_BY.into(), names::MANAGER.into())]), &[])
        },
        _ => {
            let spus = names::spus(shape.spus, &site.config.zones);
            let spu = spus.into_iter().find(|spu| spu.service() == name)?;
            let pod = BTreeMap::from([("statefulset.kubernetes.io/pod-name".to_owned(), spu.name)]);
            spec(pod, &[("public", names::SPU_PUBLIC)])
        }
    };
    Some(Service { metadata: metadata(site, shape, name), spec: Some(spec), ..Service::default() })
}

fn spec(selector: BTreeMap<String, String>, ports: &[(&str, u16)]) -> ServiceSpec {
    let port = |(name, number): &(&str, u16)| ServicePort {
        name: Some((*name).into()),
        port: i32::from(*number),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(i32::from(*number))),
        ..ServicePort::default()
    };
    ServiceSpec {
        type_: Some("ClusterIP".into()),
        selector: Some(selector),
        ports: (!ports.is_empty()).then(|| ports.iter().map(port).collect()),
        // A server is ready when it has its settings, and it gets them by this address.
        publish_not_ready_addresses: Some(true),
        ..ServiceSpec::default()
    }
}
