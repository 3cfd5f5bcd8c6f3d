//! Names of a tenant's objects. All of them come from ids that the server made; nothing that a tenant wrote is
//! in any of them.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::process::spu_id;

/// Who owns the fields that the provisioner sets.
pub const FIELD_MANAGER: &str = "fluvio-cloud-provisioner";
/// On every object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const MANAGER: &str = "fluvio-cloud";
/// On every object: the cluster's id.
pub const CLUSTER: &str = "fluvio-cloud/cluster";
/// On every object: the region.
pub const REGION: &str = "fluvio-cloud/region";
/// On a tenant's namespace.
pub const TENANT: &str = "fluvio-cloud/tenant";
/// On a tenant's namespace, as an annotation: the SPUs that have objects. It goes up before the objects come, and
/// down when an SPU is known to hold nothing, so that no restart forgets an SPU with data.
pub const SPUS: &str = "fluvio-cloud/spus";
/// On a namespace whose cluster does not exist, as an annotation: since when (seconds since 1970).
pub const ORPHANED: &str = "fluvio-cloud/orphaned-since";
/// On pods: `sc` or `spu`.
pub const ROLE: &str = "fluvio-cloud/role";

/// Where clients meet the SC.
pub const SC_PUBLIC: u16 = 9003;
/// Where clients meet an SPU.
pub const SPU_PUBLIC: u16 = 9005;
/// Where SPUs meet the SC.
pub const SC_LINK: u16 = 9010;
/// Where SPUs meet each other.
pub const SPU_LINK: u16 = 9011;
/// Where the provisioner meets the SC.
pub const SC_CONTROL: u16 = 9020;
/// Where health and metrics are told.
pub const PROBE: u16 = 9030;

const NAMESPACE: &str = "fluvio-";

/// The namespace of a cluster.
pub fn namespace(cluster: Uuid) -> String {
    format!("{NAMESPACE}{}", cluster.simple())
}

/// The cluster of a namespace, if it has the name of a tenant's.
pub fn cluster_of(namespace: &str) -> Option<Uuid> {
    let id = namespace.strip_prefix(NAMESPACE)?;
    // One text, one id: upper case or hyphens would be a second spelling.
    Uuid::try_parse(id).ok().filter(|cluster| cluster.simple().to_string() == id)
}

/// Labels of every object of a cluster.
pub fn labels(region: &str, cluster: Uuid) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.into(), MANAGER.into()),
        (CLUSTER.into(), cluster.simple().to_string()),
        (REGION.into(), region.into()),
    ])
}

/// One SPU of a cluster: where it is and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spu {
    /// Its pod's name, which is its own.
    pub name: String,
    /// Its id.
    pub id: i32,
    /// The StatefulSet that it belongs to.
    pub set: String,
}

impl Spu {
    /// The SPU with this number, in a region with these zones.
    pub fn numbered(number: u8, zones: &[String]) -> Self {
        let (set, ordinal) = match zones.len() {
            0 => ("main".to_owned(), usize::from(number)),
            n_zones => (zones[usize::from(number) % n_zones].clone(), usize::from(number) / n_zones),
        };
        Self { name: format!("{set}-{ordinal}"), id: spu_id(number), set }
    }

    /// The Service in front of it.
    pub fn service(&self) -> String {
        service_of(&self.name)
    }
}

/// The Service in front of an SPU.
pub fn service_of(spu: &str) -> String {
    format!("spu-{spu}")
}

/// The SPUs of a cluster.
pub fn spus(count: u8, zones: &[String]) -> Vec<Spu> {
    (0..count).map(|number| Spu::numbered(number, zones)).collect()
}

/// The pods of a cluster with so many SPUs.
pub fn pods(count: u8, zones: &[String]) -> Vec<String> {
    spus(count, zones).into_iter().map(|spu| spu.name).chain(["sc-0".to_owned()]).collect()
}

/// The StatefulSets of a cluster's SPUs, with their replicas. Every zone has one, so that an SPU more or less
/// changes a number only.
pub fn sets(count: u8, zones: &[String]) -> Vec<(String, i32)> {
    if zones.is_empty() {
        return vec![("main".into(), i32::from(count))];
    }
    let all = spus(count, zones);
    let in_zone = |zone: &String| all.iter().filter(|spu| spu.set == *zone).map(|_| 1).sum();
    zones.iter().map(|zone| (zone.clone(), in_zone(zone))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_name_of_a_namespace_is_a_tenants() {
        let cluster = Uuid::from_u128(0xabc);
        let name = namespace(cluster);
        assert_eq!(cluster_of(&name), Some(cluster));
        for other in
            ["fluvio-cloud", "fluvio-", "kube-system", &name.to_uppercase(), &format!("fluvio-{cluster}")]
        {
            assert_eq!(cluster_of(other), None, "{other}");
        }
    }

    #[test]
    fn spus_fill_the_zones_in_turn_and_keep_their_names_when_there_are_more() {
        let zones = ["a", "b"].map(String::from);
        let names = |count| spus(count, &zones).into_iter().map(|spu| spu.name).collect::<Vec<_>>();
        assert_eq!(names(5), ["a-0", "b-0", "a-1", "b-1", "a-2"]);
        assert_eq!(names(2), names(5)[..2]);
        assert_eq!(sets(5, &zones), [("a".into(), 3), ("b".into(), 2)]);
        assert_eq!(sets(1, &zones), [("a".into(), 1), ("b".into(), 0)]);
        assert_eq!(sets(2, &[]), [("main".into(), 2)]);
        assert_eq!(spus(2, &[]).into_iter().map(|spu| spu.id).collect::<Vec<_>>(), [5001, 5002]);
    }
}
