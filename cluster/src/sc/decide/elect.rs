//! Who leads, and which copies count.
//!
//! Only a copy that is in sync may lead: it has every committed record. Fewer in sync than commit anything are no
//! use, so none of the last ones is taken out, however long it is away: it has everything and may be the only one
//! left that does. The set changes here and nowhere else, each change on the ground of the set before it, so that a
//! leader and the SC never both believe in their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster_settings::Durability;
use uuid::Uuid;

use super::World;
use crate::link::PartitionKey;
use crate::sc::metadata::{InSync, Metadata, NOBODY, Placement};

/// A leader asks for another set of copies in sync.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InSyncAsked {
    /// The partition.
    pub key: PartitionKey,
    /// Its incarnation.
    pub topic_id: Uuid,
    /// Epoch in which the asker leads.
    pub epoch: u32,
    /// The set as it should be, and the version of the one that it replaces.
    pub wanted: InSync,
}

/// Why it stays as it is. The asker learns what is in force with its next assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InSyncRefused {
    /// No such partition, or another incarnation.
    #[error("there is no such partition")]
    Unknown,
    /// The asker does not lead it in that epoch.
    #[error("the asker does not lead the partition")]
    NotLeader,
    /// Another set is in force than the asker knew.
    #[error("another set is in force by now")]
    Outdated,
    /// The leader must be in it, enough to commit, and nobody who has no copy or comes in while away.
    #[error("the set cannot be")]
    Impossible,
}

/// Puts a set in force that a leader asked for.
pub fn change_in_sync(
    metadata: &Metadata,
    world: &World,
    asker: i32,
    asked: &InSyncAsked,
) -> Result<Metadata, InSyncRefused> {
    let topic = metadata.topics.get(&asked.key.topic).filter(|topic| topic.id == asked.topic_id);
    let placed = topic.and_then(|topic| topic.partitions.get(&asked.key.partition));
    let placed = placed.ok_or(InSyncRefused::Unknown)?;
    if (placed.leader, placed.epoch) != (asker, asked.epoch) {
        return Err(InSyncRefused::NotLeader);
    }
    if placed.in_sync.version != asked.wanted.version {
        return Err(InSyncRefused::Outdated);
    }
    let comes = |spu: &i32| placed.in_sync.spus.contains(spu) || !world.gone.contains(spu);
    let wanted = &asked.wanted.spus;
    let enough = wanted.len() >= placed.least_in_sync();
    let possible = wanted.contains(&asker)
        && (enough || wanted.is_superset(&placed.in_sync.spus))
        && wanted.iter().all(|spu| placed.replicas.contains(spu) && comes(spu));
    if !possible {
        return Err(InSyncRefused::Impossible);
    }
    let in_sync = InSync { version: placed.in_sync.version + 1, spus: wanted.clone() };
    let mut next = metadata.clone();
    next.revision += 1;
    let changed = Placement { in_sync, ..placed.clone() };
    if let Some(topic) = next.topics.get_mut(&asked.key.topic) {
        Arc::make_mut(topic).partitions.insert(asked.key.partition, changed);
    }
    Ok(next)
}

/// Gives every partition whose leader is away, or whose leader's disk failed, another one that is in sync and there, in a
/// new epoch, and takes SPUs that are away out of the sets as long as enough are left; `None` if nothing changes. Where
/// nobody in sync is there, the partition waits for its leader. One that can lead in a later epoch only gets that.
pub fn elect(metadata: &Metadata, world: &World) -> Option<Metadata> {
    metadata.with_placements(|topic, index, placed| settled((topic.id, index), placed, world))
}

/// An SPU of which more has to be known than that it is there.
#[derive(Debug)]
pub struct Came<'a> {
    /// Which.
    pub spu: i32,
    /// Whether its process has just begun.
    pub fresh: bool,
    /// The partitions that it has on its disk, by incarnation and number.
    pub holds: &'a BTreeSet<(Uuid, u32)>,
    /// Whether what it acknowledged as stored was on its disk.
    pub durability: Durability,
}

/// What an SPU led whose process has just begun, it leads in a new epoch, if at all, since others may have of the old one
/// what it lost. Where its copy may lack committed records (its disk is another one, or they were in memory only) it
/// is in sync no more, unless nobody else is, and nothing that was asked for before takes it in; `None` if nothing
/// changes.
pub fn came_back(metadata: &Metadata, world: &World, came: &Came<'_>) -> Option<Metadata> {
    metadata.with_placements(|topic, index, placed| {
        let holds = came.holds.contains(&(topic.id, index));
        (placed.replicas.len() > 1).then(|| led_since(placed, world, came, holds)).flatten()
    })
}

fn led_since(placed: &Placement, world: &World, came: &Came<'_>, holds: bool) -> Option<Placement> {
    let leads = placed.leader == came.spu;
    let forgot = came.fresh && came.durability == Durability::Memory;
    // An ask to take it in may be on its way from a leader that knew what it had before.
    let lacks = placed.replicas.contains(&came.spu) && (!holds || forgot);
    let begins_anew = leads && came.fresh;
    if !(lacks || begins_anew) {
        return None;
    }
    let mut others = placed.in_sync.spus.clone();
    let was_in_sync = others.remove(&came.spu);
    let online = placed.replicas.iter().find(|spu| others.contains(spu) && world.online(**spu));
    // With nothing on its disk it has nothing, whoever else is there; what was in memory it may have after all.
    let better = if holds { online.is_some() } else { !others.is_empty() };
    let mut anew = Placement { epoch: placed.epoch + u32::from(leads), ..placed.clone() };
    if lacks && placed.leader == NOBODY {
        anew.blank.insert(came.spu);
    }
    anew.in_sync.version += u32::from(lacks);
    if was_in_sync && lacks && better {
        let next = online.or_else(|| placed.replicas.iter().find(|spu| others.contains(spu)));
        anew.leader = if leads { *next? } else { placed.leader };
        anew.in_sync.spus = others;
    }
    Some(anew)
}

fn settled((topic, index): (Uuid, u32), placed: &Placement, world: &World) -> Option<Placement> {
    // Who is in sync is not known.
    if placed.leader == NOBODY {
        return None;
    }
    let here: BTreeSet<i32> =
        placed.in_sync.spus.iter().copied().filter(|spu| !world.gone.contains(spu)).collect();
    let takes = |spu: i32| world.unwell.takes(topic, index, spu);
    let mut able = placed.replicas.iter().copied().filter(|spu| here.contains(spu) && world.online(*spu));
    let able_and_well = able.clone().find(|spu| takes(*spu));
    let is_well = takes(placed.leader) || able_and_well.is_none();
    let leads_on = !world.gone.contains(&placed.leader) && is_well && !world.unwell.waits(topic, index);
    let enough = here.len() >= placed.least_in_sync();
    let shrinks = enough && here != placed.in_sync.spus;
    if leads_on && !shrinks {
        return None;
    }
    let leader = match leads_on {
        true => placed.leader,
        // A broken disk is better than nobody: it can still be read.
        false => able_and_well.or_else(|| able.next())?,
    };
    let epoch = placed.epoch + u32::from(!leads_on);
    let in_sync = match shrinks {
        true => InSync { version: placed.in_sync.version + 1, spus: here },
        false => placed.in_sync.clone(),
    };
    Some(Placement { epoch, leader, in_sync, ..placed.clone() })
}

#[cfg(test)]
mod tests;
