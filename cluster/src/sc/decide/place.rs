//! Where partitions go.

use std::collections::BTreeMap;

use super::World;
use crate::sc::metadata::{Metadata, Placement};
use crate::sc::topic::Replicas;

/// Why a topic has no place: for now, or for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlace {
    /// A change of the cluster can help.
    Yet(String),
    /// The client asked for an SPU that does not exist.
    Ever(String),
}

/// Places the partitions from `from` on of a topic: those of the client's choice where it chose, else on the
/// SPUs that lead the fewest partitions, the lowest id first. Never changes its mind: the same metadata and
/// world give the same places.
pub fn place(
    metadata: &Metadata,
    world: &World,
    replicas: &Replicas,
    from: u32,
) -> Result<BTreeMap<u32, Placement>, NoPlace> {
    let factor = replicas.replication_factor();
    let n_spus = world.staying().count();
    if usize::try_from(factor).unwrap_or(usize::MAX) > n_spus {
        return Err(NoPlace::Yet(format!(
            "replication factor {factor} needs {factor} SPUs, the cluster has {n_spus}"
        )));
    }
    if factor > 1 {
        return Err(NoPlace::Yet(format!(
            "replication factor {factor} is not available yet: this cluster keeps one copy of each partition"
        )));
    }
    match replicas {
        Replicas::Assigned(map) => as_assigned(world, map, from),
        Replicas::Computed { partitions, .. } => least_loaded(metadata, world, from..*partitions),
    }
}

fn as_assigned(world: &World, map: &[Vec<i32>], from: u32) -> Result<BTreeMap<u32, Placement>, NoPlace> {
    if let Some(unknown) = map.iter().flatten().find(|spu| !world.knows(**spu)) {
        return Err(NoPlace::Ever(format!("the cluster has no SPU with id {unknown}")));
    }
    if let Some(leaving) = map.iter().flatten().find(|spu| world.leaving.contains(spu)) {
        return Err(NoPlace::Yet(format!("the SPU with id {leaving} is about to leave the cluster")));
    }
    let placed = (0..).zip(map).skip_while(|(index, _)| *index < from);
    Ok(placed.filter_map(|(index, spus)| Some((index, placement(*spus.first()?, spus.clone())))).collect())
}

fn least_loaded(
    metadata: &Metadata,
    world: &World,
    wanted: std::ops::Range<u32>,
) -> Result<BTreeMap<u32, Placement>, NoPlace> {
    let mut load: BTreeMap<i32, usize> = world.open().map(|spu| (spu, 0)).collect();
    let partitions = metadata.topics.values().flat_map(|topic| topic.partitions.values());
    for placed in partitions {
        if let Some(n_leaders) = load.get_mut(&placed.leader) {
            *n_leaders += 1;
        }
    }
    let mut placed = BTreeMap::new();
    for index in wanted {
        let least = load.iter_mut().min_by_key(|(spu, n_leaders)| (**n_leaders, **spu));
        let Some((spu, n_leaders)) = least else {
            return Err(NoPlace::Yet("waiting for live spus".into()));
        };
        *n_leaders += 1;
        placed.insert(index, placement(*spu, vec![*spu]));
    }
    Ok(placed)
}

fn placement(leader: i32, replicas: Vec<i32>) -> Placement {
    Placement { epoch: 0, leader, replicas }
}
