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
    match replicas {
        Replicas::Assigned(map) => as_assigned(world, map, from),
        Replicas::Computed { partitions, ignore_rack, .. } => {
            let load = Load::of(metadata, world, *ignore_rack);
            load.place(from..*partitions, usize::try_from(factor).unwrap_or(usize::MAX))
        }
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
    Ok(placed
        .filter_map(|(index, spus)| Some((index, Placement::new(*spus.first()?, spus.clone()))))
        .collect())
}

/// What each SPU that is there carries already.
pub(super) struct Load<'a> {
    spus: BTreeMap<i32, Carries<'a>>,
}

#[derive(Default)]
struct Carries<'a> {
    n_leaders: usize,
    n_copies: usize,
    rack: Option<&'a str>,
}

impl<'a> Load<'a> {
    pub(super) fn of(metadata: &Metadata, world: &'a World, ignore_rack: bool) -> Self {
        let rack = |spu: &i32| world.racks.get(spu).filter(|_| !ignore_rack).map(String::as_str);
        let mut spus: BTreeMap<i32, Carries<'_>> =
            world.open().map(|spu| (spu, Carries { rack: rack(&spu), ..Carries::default() })).collect();
        for placed in metadata.placements() {
            let to_be = if placed.moving_to.is_empty() { &placed.replicas } else { &placed.moving_to };
            for spu in to_be {
                if let Some(carries) = spus.get_mut(spu) {
                    carries.n_copies += 1;
                    carries.n_leaders += usize::from(*spu == placed.leader);
                }
            }
        }
        Self { spus }
    }

    fn place(
        mut self,
        wanted: std::ops::Range<u32>,
        factor: usize,
    ) -> Result<BTreeMap<u32, Placement>, NoPlace> {
        if !wanted.is_empty() && self.spus.len() < factor.max(1) {
            return Err(NoPlace::Yet("waiting for live spus".into()));
        }
        Ok(wanted.map(|index| (index, self.next(factor))).collect())
    }

    fn next(&mut self, factor: usize) -> Placement {
        let mut chosen: Vec<i32> = Vec::with_capacity(factor);
        while chosen.len() < factor {
            let Some(best) = self.choose(&chosen) else { break };
            chosen.push(best);
        }
        Placement::new(chosen.first().copied().unwrap_or(-1), chosen)
    }

    /// The SPU for one more copy, which it carries from then on; `None` if all have one. The first goes to the SPU
    /// that leads least; others where fewest are, in racks that have none of it if there are such.
    pub(super) fn choose(&mut self, chosen: &[i32]) -> Option<i32> {
        let racks: Vec<_> = chosen.iter().filter_map(|spu| self.spus.get(spu)?.rack).collect();
        let worth = |(spu, carries): &(&i32, &Carries<'_>)| {
            let shares_rack = carries.rack.is_some_and(|rack| racks.contains(&rack));
            let leads = if chosen.is_empty() { carries.n_leaders } else { 0 };
            (shares_rack, leads, carries.n_copies, **spu)
        };
        let free = self.spus.iter().filter(|(spu, _)| !chosen.contains(spu));
        let best = free.min_by_key(worth).map(|(spu, _)| *spu)?;
        let carries = self.spus.get_mut(&best)?;
        carries.n_copies += 1;
        carries.n_leaders += usize::from(chosen.is_empty());
        Some(best)
    }

    /// The SPUs that carry most and least copies, if moving one from the first to the second makes a difference.
    pub(super) fn uneven(&self) -> Option<(i32, i32)> {
        let (most, carries_most) =
            self.spus.iter().max_by_key(|(spu, carries)| (carries.n_copies, -**spu))?;
        let (least, carries_least) =
            self.spus.iter().min_by_key(|(spu, carries)| (carries.n_copies, **spu))?;
        (carries_most.n_copies > carries_least.n_copies + 1).then_some((*most, *least))
    }
}
