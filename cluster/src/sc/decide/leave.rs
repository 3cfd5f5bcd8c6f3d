//! SPUs that go.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::confirm_retired;
use crate::sc::metadata::Metadata;

/// Why an SPU cannot go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SPU {name} still holds {what}", what = what(*.partitions, *.offsets))]
pub struct StillHolds {
    /// Its name.
    pub name: String,
    /// Copies of partitions of the tenant's topics.
    pub partitions: usize,
    /// Whether the system's topic is on it.
    pub offsets: bool,
}

fn what(partitions: usize, offsets: bool) -> String {
    let partitions = match partitions {
        0 => None,
        1 => Some("1 partition".to_owned()),
        n => Some(format!("{n} partitions")),
    };
    let offsets = offsets.then(|| "the consumers' offsets".to_owned());
    partitions.into_iter().chain(offsets).collect::<Vec<_>>().join(" and ")
}

/// How many copies of partitions each SPU holds, the system's counted. One that is not there holds none.
pub fn replicas(metadata: &Metadata) -> BTreeMap<i32, usize> {
    let mut held = BTreeMap::new();
    for spu in metadata.placements().flat_map(|placed| &placed.replicas) {
        *held.entry(*spu).or_default() += 1;
    }
    held
}

/// The metadata without these SPUs, by id and name; `None` if it never heard of them. What they hold of deleted
/// topics goes with them.
pub fn without(metadata: &Metadata, going: &[(i32, &str)]) -> Result<Option<Metadata>, StillHolds> {
    for (spu, name) in going {
        let on_it = |system: bool| {
            let topics = metadata.topics.values().filter(move |topic| topic.spec.options.system == system);
            let placed = topics.flat_map(|topic| topic.partitions.values());
            placed.filter(|placed| placed.replicas.contains(spu)).count()
        };
        let (partitions, offsets) = (on_it(false), on_it(true) > 0);
        if partitions > 0 || offsets {
            return Err(StillHolds { name: (*name).into(), partitions, offsets });
        }
    }
    let retired: BTreeSet<Uuid> = metadata.retired.keys().copied().collect();
    let gone = going.iter().fold(None, |changed: Option<Metadata>, (spu, _)| {
        confirm_retired(changed.as_ref().unwrap_or(metadata), *spu, &retired).or(changed)
    });
    let now = gone.as_ref().unwrap_or(metadata);
    let forgotten = now.with_placements(|_, _, placed| {
        let mut next = placed.clone();
        let stays = |spu: &i32| !going.iter().any(|(going, _)| going == spu);
        next.dropped.retain(stays);
        next.unheard.retain(stays);
        (next != *placed).then_some(next)
    });
    Ok(forgotten.or(gone))
}
