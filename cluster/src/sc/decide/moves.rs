//! Copies that move: from SPUs that are to go or do not come back, onto SPUs that came, and leaders back to where they
//! belong.
//!
//! A move first adds copies, then waits until all that are to stay are in sync, and only then lets the others go. Until
//! then what counts, counts: a move that never ends costs nothing but its copies. Nothing here forgets a move: it is
//! in the metadata, and whoever goes on with it needs nothing else.

use std::collections::BTreeSet;

use super::World;
use super::place::Load;
use crate::sc::metadata::{InSync, Metadata, NOBODY, Placement, Topic};
use crate::sc::topic::Replicas;

/// Partitions whose copies move at a time: each is read whole from its leader, beside what clients do.
const AT_ONCE: usize = 4;

/// Copies of the consumers' offsets, where there are SPUs for so many.
const SYSTEM_COPIES: usize = 3;

/// The next step; `None` while there is nothing to do but to wait.
pub fn move_copies(metadata: &Metadata, world: &World) -> Option<Metadata> {
    if world.fixed || metadata.placements().any(|placed| placed.leader == NOBODY) {
        return None;
    }
    let settled = || finish(metadata, world).or_else(|| begin(metadata, world));
    let moves = metadata.placements().any(|placed| moves(placed, world));
    let idle =
        || (world.calm && !moves).then(|| level(metadata, world).or_else(|| lead_back(metadata, world)));
    settled().or_else(|| idle().flatten())
}

/// Whether copies are on their way: none is while nobody is there who has what they are to get.
fn moves(placed: &Placement, world: &World) -> bool {
    !placed.moving_to.is_empty() && world.online(placed.leader)
}

/// Lets go of the copies that are not to stay, where all that are to stay are in sync.
fn finish(metadata: &Metadata, world: &World) -> Option<Metadata> {
    metadata.with_placements(|_, _, placed| {
        let target = &placed.moving_to;
        let whole = !target.is_empty() && target.iter().all(|spu| placed.in_sync.spus.contains(spu));
        if !whole {
            return None;
        }
        let there = target.iter().find(|spu| world.online(**spu));
        let leader = if target.contains(&placed.leader) { placed.leader } else { *there? };
        let gone = placed.replicas.iter().filter(|spu| !target.contains(spu));
        Some(Placement {
            epoch: placed.epoch + u32::from(leader != placed.leader),
            leader,
            replicas: target.clone(),
            in_sync: InSync { version: placed.in_sync.version + 1, spus: target.iter().copied().collect() },
            factor: target.len(),
            moving_to: Vec::new(),
            blank: BTreeSet::new(),
            unheard: BTreeSet::new(),
            dropped: placed.dropped.iter().chain(gone).copied().collect(),
        })
    })
}

/// Gives the copies on SPUs that are to go, or are lost, another place, as far as there is one.
fn begin(metadata: &Metadata, world: &World) -> Option<Metadata> {
    let mut n_under_way = metadata.placements().filter(|placed| moves(placed, world)).count();
    let mut load = Load::of(metadata, world, false);
    metadata.with_placements(|topic, _, placed| {
        let goes_on = moves(placed, world);
        if n_under_way >= AT_ONCE && !goes_on {
            return None;
        }
        let target = target(topic, placed, world, &mut load)?;
        n_under_way += usize::from(!goes_on);
        Some(moving(placed, target))
    })
}

/// Where the copies are to be, if that is elsewhere than they are or move to, and there is room.
fn target(topic: &Topic, placed: &Placement, world: &World, load: &mut Load<'_>) -> Option<Vec<i32>> {
    let now = if placed.moving_to.is_empty() { &placed.replicas } else { &placed.moving_to };
    let staying: BTreeSet<i32> = world.staying().map(|(spu, _)| spu).collect();
    let wanted = match topic.spec.options.system {
        true => SYSTEM_COPIES.min(staying.len()),
        false => placed.factor,
    };
    // What is lost can be made again where somebody is there who leads it, and so has all of it.
    let lost = |spu: &i32| world.lost.contains(spu) && world.online(placed.leader);
    // A goal that stays away is given up while others can take its place.
    let missed = |spu: &i32| {
        !placed.moving_to.is_empty()
            && world.calm
            && world.gone.contains(spu)
            && !placed.in_sync.spus.contains(spu)
    };
    let stays = |spu: &i32| staying.contains(spu) && !lost(spu) && !missed(spu);
    let mut target: Vec<i32> = now.iter().copied().filter(stays).collect();
    target.truncate(wanted);
    while target.len() < wanted {
        let next = load.choose(&target)?;
        target.push(next);
    }
    (!target.is_empty() && target != *now).then_some(target)
}

fn moving(placed: &Placement, target: Vec<i32>) -> Placement {
    let mut next = placed.clone();
    next.replicas.extend(target.iter().filter(|spu| !placed.replicas.contains(spu)));
    next.in_sync.version += 1;
    next.dropped.retain(|spu| !target.contains(spu));
    next.moving_to = target;
    next
}

/// Moves one copy from the SPU that carries most to the one that carries least. Where the client placed them, they stay.
fn level(metadata: &Metadata, world: &World) -> Option<Metadata> {
    if world.staying().any(|(_, online)| !online) {
        return None;
    }
    let (from, to) = Load::of(metadata, world, false).uneven()?;
    let racks =
        |spus: &[i32]| spus.iter().filter_map(|spu| world.racks.get(spu)).collect::<BTreeSet<_>>().len();
    let mut found = false;
    let mut step = |followers_only: bool| {
        metadata.with_placements(|topic, _, placed| {
            let movable = matches!(topic.spec.replicas, Replicas::Computed { .. })
                && placed.replicas.contains(&from)
                && !placed.replicas.contains(&to)
                && !(followers_only && placed.leader == from);
            let target: Vec<i32> =
                placed.replicas.iter().map(|spu| if *spu == from { to } else { *spu }).collect();
            if found || !movable || racks(&target) < racks(&placed.replicas) {
                return None;
            }
            found = true;
            Some(moving(placed, target))
        })
    };
    // A follower's move is felt by nobody.
    step(true).or_else(|| step(false))
}

/// Gives the lead back to the preferred leaders that are there and in sync.
fn lead_back(metadata: &Metadata, world: &World) -> Option<Metadata> {
    metadata.with_placements(|topic, index, placed| {
        let preferred = *placed.replicas.first()?;
        let back = preferred != placed.leader
            && world.unwell.takes(topic.id, index, preferred)
            && placed.in_sync.spus.contains(&preferred)
            && world.online(preferred)
            && !world.gone.contains(&preferred);
        back.then(|| Placement { epoch: placed.epoch + 1, leader: preferred, ..placed.clone() })
    })
}

#[cfg(test)]
mod tests;
