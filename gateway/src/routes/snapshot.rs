//! What the database says about routes, as plain data, and what a newer one changes.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Everything the gateway knows about clusters, ordered by id, so that equal worlds are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// By ascending id.
    pub clusters: Vec<ClusterRecord>,
}

/// One cluster that is wanted and has at least one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterRecord {
    /// The cluster's id: routes belong to it, not to its names.
    pub id: Uuid,
    /// The server name of its SC; `<name>.<domain>` are its SPUs.
    pub domain: String,
    /// Connections it may have at once.
    pub max_connections: u32,
    /// Server name ('' is the SC) to address, as text.
    pub backends: BTreeMap<String, String>,
}

/// One server of one cluster.
pub type BackendKey = (Uuid, String);

/// The servers of `old` whose connections must end before `new` is in force: gone, moved to another address,
/// or reached by another name.
pub fn cut_by(old: &Snapshot, new: &Snapshot) -> Vec<BackendKey> {
    let kept: HashMap<Uuid, &ClusterRecord> = new.clusters.iter().map(|c| (c.id, c)).collect();
    let mut cut = Vec::new();
    for cluster in &old.clusters {
        let now = kept.get(&cluster.id).filter(|now| now.domain == cluster.domain);
        for (name, address) in &cluster.backends {
            if now.and_then(|now| now.backends.get(name)) != Some(address) {
                cut.push((cluster.id, name.clone()));
            }
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(id: u128, domain: &str, max: u32, backends: &[(&str, &str)]) -> ClusterRecord {
        let backends = backends.iter().map(|(n, a)| ((*n).to_owned(), (*a).to_owned())).collect();
        ClusterRecord { id: Uuid::from_u128(id), domain: domain.into(), max_connections: max, backends }
    }

    #[test]
    fn only_what_moved_or_went_is_cut() {
        let one = || cluster(1, "a.x", 5, &[("", "unix:/a/sc"), ("main-0", "unix:/a/0")]);
        let sc = || (Uuid::from_u128(1), String::new());
        let spu = || (Uuid::from_u128(1), "main-0".to_owned());
        let cases: Vec<(&str, Vec<ClusterRecord>, Vec<BackendKey>)> = vec![
            ("nothing changed", vec![one()], vec![]),
            ("another limit", vec![ClusterRecord { max_connections: 9, ..one() }], vec![]),
            ("another cluster came", vec![one(), cluster(2, "b.x", 5, &[("", "unix:/b/sc")])], vec![]),
            ("the cluster went", vec![], vec![sc(), spu()]),
            ("one server went", vec![cluster(1, "a.x", 5, &[("", "unix:/a/sc")])], vec![spu()]),
            (
                "one server moved",
                vec![cluster(1, "a.x", 5, &[("", "unix:/a/sc"), ("main-0", "unix:/a/1")])],
                vec![spu()],
            ),
            (
                "another cluster took name and address",
                vec![cluster(2, "a.x", 5, &[("", "unix:/a/sc"), ("main-0", "unix:/a/0")])],
                vec![sc(), spu()],
            ),
            (
                "the cluster was renamed",
                vec![ClusterRecord { domain: "c.x".into(), ..one() }],
                vec![sc(), spu()],
            ),
        ];
        let old = Snapshot { clusters: vec![one()] };
        for (name, clusters, expected) in cases {
            assert_eq!(cut_by(&old, &Snapshot { clusters }), expected, "{name}");
        }
    }
}
