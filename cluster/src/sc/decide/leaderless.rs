//! Partitions that nobody leads for a moment: those of which an SC without a disk has not heard every copy.
//!
//! Whoever was not heard may be the only one who knew which copies were in sync in the end, and may still lead. So
//! first nobody leads, in an epoch later than any that was heard of: from then on no copy takes anything from a leader of
//! before. Each says in that epoch how far it is durable. Once there are so many that one of them has every acknowledged
//! record, the one that is whole of the last epoch ([`DurableEnd`]), and of those the longest, has all of them (the Raft
//! paper's election restriction, section 5.4.1), and leads in the next epoch. The others are in sync again when it says
//! so. Copies that were begun anew count as well, since they are a start of their leader's log; that they may lack what
//! they once acknowledged is known from the set in sync, from which they were taken.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::World;
use super::adopt::is_news;
use crate::link::{DurableEnd, PartitionKey, ReplicaReport};
use crate::sc::metadata::{InSync, Metadata, NOBODY, Placement, Topic};

/// What the SPUs that came have on their disks: partitions by incarnation and number.
pub type Heard = BTreeMap<i32, BTreeSet<(Uuid, u32)>>;

/// Whether of each partition so many copies were heard of that one of them has every acknowledged record, and the
/// epoch in which it was acknowledged: too few of the cluster's SPUs are left for an acknowledgement. Any of them may have
/// a copy by now that those who came do not know of, but for partitions of one copy: those would wait for every SPU.
///
/// Where those who came know of no partition at all, the cluster is new, or one that is missing has all that there is of
/// the only one: no more than one may be missing.
pub fn heard_enough(metadata: &Metadata, heard: &Heard, spus: &BTreeSet<i32>) -> bool {
    if metadata.placed().next().is_none() {
        return spus.iter().filter(|spu| !heard.contains_key(spu)).count() < 2;
    }
    metadata.placed().all(|(topic, index, placed)| {
        let holds = |spu: &&i32| heard.get(spu).is_some_and(|holds| holds.contains(&(topic.id, index)));
        let n_unheard = placed.replicas.len() - placed.replicas.iter().filter(holds).count();
        n_unheard + unheard_of(placed, heard, spus).len() < placed.least_in_sync()
    })
}

/// SPUs that were not heard and may have a copy that nobody here knows of.
fn unheard_of(placed: &Placement, heard: &Heard, spus: &BTreeSet<i32>) -> BTreeSet<i32> {
    let unheard = spus.iter().filter(|spu| !heard.contains_key(spu) && !placed.replicas.contains(spu));
    unheard.filter(|_| placed.replicas.len() > 1).copied().collect()
}

/// Takes the lead from everybody where a copy was not heard of, or may not have been.
pub fn without_leaders(metadata: &Metadata, heard: &Heard, spus: &BTreeSet<i32>) -> Metadata {
    let next = metadata.with_placements(|topic, index, placed| headless(topic, index, placed, heard, spus));
    next.unwrap_or_else(|| metadata.clone())
}

/// The same of what an SC that serves learnt of late: what was not so `before`. Those who came earlier knew no better, and
/// whoever is still away may have heard of a later leader and another set in sync.
pub fn learnt_late(before: &Metadata, adopted: &Metadata, heard: &Heard, spus: &BTreeSet<i32>) -> Metadata {
    let next = adopted.with_placements(|topic, index, placed| {
        is_news(before, topic, index, placed).then(|| headless(topic, index, placed, heard, spus))?
    });
    next.unwrap_or_else(|| adopted.clone())
}

/// A partition led by nobody; `None` if all that may have a copy were heard, or it has one copy.
fn headless(
    topic: &Topic,
    index: u32,
    placed: &Placement,
    heard: &Heard,
    spus: &BTreeSet<i32>,
) -> Option<Placement> {
    let lacks = |spu: &&i32| heard.get(spu).is_some_and(|holds| !holds.contains(&(topic.id, index)));
    let blank = placed.replicas.iter().filter(lacks).copied().collect();
    let unheard = unheard_of(placed, heard, spus);
    let missing = !unheard.is_empty() || placed.replicas.iter().any(|spu| !heard.contains_key(spu));
    let headless = Placement { leader: NOBODY, blank, unheard, ..placed.clone() };
    (missing && placed.replicas.len() > 1).then_some(headless)
}

/// An SPU comes that had not been heard: it is missing no more where it has no copy. `None` if it was missing nowhere.
pub fn heard_at_last(metadata: &Metadata, spu: i32, holds: &BTreeSet<(Uuid, u32)>) -> Option<Metadata> {
    metadata.with_placements(|topic, index, placed| {
        let missing = placed.unheard.contains(&spu) && !holds.contains(&(topic.id, index));
        let mut next = placed.clone();
        next.unheard.remove(&spu);
        missing.then_some(next)
    })
}

/// Gives a partition that nobody leads to the copy that has everything, once enough of them have said how far they are;
/// `None` if there is no such partition.
pub fn lead_again(
    metadata: &Metadata,
    world: &World,
    reports: &BTreeMap<(PartitionKey, i32), ReplicaReport>,
) -> Option<Metadata> {
    if metadata.placements().all(|placed| placed.leader != NOBODY) {
        return None;
    }
    let said: BTreeMap<(Uuid, u32, i32), &ReplicaReport> =
        reports.iter().map(|((key, spu), report)| ((report.topic_id, key.partition, *spu), report)).collect();
    metadata.with_placements(|topic, index, placed| {
        if placed.leader != NOBODY {
            return None;
        }
        let end = |spu: &i32| {
            let report = said.get(&(topic.id, index, *spu)).filter(|said| said.epoch == placed.epoch)?;
            report.durable.filter(|_| world.online(*spu))
        };
        let ends: Vec<_> = placed.replicas.iter().filter_map(|spu| Some((end(spu)?, *spu))).collect();
        let (_, leader) = ends.iter().copied().max().filter(|_| enough(placed, &ends))?;
        let in_sync = InSync { version: placed.in_sync.version + 1, spus: [leader].into() };
        let (blank, unheard) = (BTreeSet::new(), BTreeSet::new());
        Some(Placement { epoch: placed.epoch + 1, leader, in_sync, blank, unheard, ..placed.clone() })
    })
}

/// Whether one of those that have spoken has everything.
fn enough(placed: &Placement, ends: &[(DurableEnd, i32)]) -> bool {
    let witnesses = || ends.iter().map(|(_, spu)| spu).filter(|spu| !placed.blank.contains(spu));
    // What was committed under the last set that anybody here was told of, each of that set has; what was committed
    // under a later one, somebody here has, if fewer are missing than that took.
    let known = witnesses().any(|spu| placed.in_sync.spus.contains(spu));
    let n_missing = placed.replicas.len() - witnesses().count() + placed.unheard.len();
    let few_missing = n_missing < placed.least_in_sync();
    // Where all have spoken, nobody is left who could have more.
    ends.len() == placed.replicas.len() || (known && few_missing)
}

#[cfg(test)]
mod tests;
