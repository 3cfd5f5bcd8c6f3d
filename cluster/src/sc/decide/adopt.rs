//! Rebuilding from what SPUs hold, for an SC that lost its disk.

use std::sync::Arc;

use crate::link::Assignment;
use crate::sc::metadata::{InSync, Metadata, Placement, Standing, Topic};
use crate::sc::topic::{Replicas, TopicSpec};

/// Takes over the partitions that an SPU holds and the metadata has never heard of, or knows less of; `None` if there
/// are none. Nothing may be told to anybody before they are [`fenced`]. Where two incarnations claim one name, the
/// one known first keeps it, and the other's data stays on its SPU, unserved.
pub fn adopt(metadata: &Metadata, held: &[Assignment]) -> Option<Metadata> {
    let mut next = metadata.clone();
    for assignment in held.iter().filter(|held| !metadata.retired.contains_key(&held.topic_id)) {
        let found = next.topics.get(&assignment.key.topic);
        let topic = match found {
            None => Topic {
                id: assignment.topic_id,
                spec: TopicSpec { replicas: shape(assignment), options: assignment.options.clone() },
                standing: Standing::Provisioned,
                partitions: Default::default(),
            },
            Some(topic) if topic.id == assignment.topic_id => Topic::clone(topic),
            Some(_) => continue,
        };
        if let Some(grown) = with_partition(topic, assignment) {
            next.topics.insert(assignment.key.topic.clone(), Arc::new(grown));
        }
    }
    if next.topics == metadata.topics {
        return None;
    }
    next.revision += 1;
    Some(next)
}

/// What was taken over since `before`, each so many epochs later: that fences whatever the lost SC may still have told
/// others.
pub fn fenced(before: &Metadata, adopted: &Metadata, epochs: u32) -> Metadata {
    let next = adopted.with_placements(|topic, index, placed| {
        is_news(before, topic, index, placed).then(|| {
            let in_sync = InSync { version: placed.in_sync.version + 1, ..placed.in_sync.clone() };
            Placement { epoch: placed.epoch.saturating_add(epochs), in_sync, ..placed.clone() }
        })
    });
    next.unwrap_or_else(|| adopted.clone())
}

/// Whether this was not so before.
pub(super) fn is_news(before: &Metadata, topic: &Topic, partition: u32, placed: &Placement) -> bool {
    let known = before.topics.values().find(|known| known.id == topic.id);
    known.and_then(|known| known.partitions.get(&partition)) != Some(placed)
}

/// Whether nothing is to be learnt from what an SPU holds. One that was told of a later epoch heard it from an SC
/// that lost its disk since.
fn knows_better(known: &Placement, held: &Assignment) -> bool {
    (known.epoch, known.in_sync.version) >= (held.epoch, held.in_sync.version)
}

fn with_partition(mut topic: Topic, held: &Assignment) -> Option<Topic> {
    let index = held.key.partition;
    if topic.partitions.get(&index).is_some_and(|known| knows_better(known, held)) {
        return None;
    }
    let in_sync = InSync { version: held.in_sync.version, spus: held.in_sync() };
    // What was about to move is moved anew, if it still has to.
    let (epoch, factor) = (held.epoch, held.factor());
    let placed = Placement { epoch, in_sync, factor, ..Placement::new(held.leader, held.replicas.clone()) };
    topic.partitions.insert(index, placed);
    let n_partitions = topic.partitions.keys().next_back().map_or(0, |last| last.saturating_add(1));
    match &mut topic.spec.replicas {
        Replicas::Computed { partitions, .. } => *partitions = n_partitions.max(*partitions),
        Replicas::Assigned(map) => {
            let holes = usize::try_from(n_partitions).unwrap_or(usize::MAX);
            map.resize(holes.max(map.len()), held.replicas.clone());
            if let Some(spus) = usize::try_from(index).ok().and_then(|index| map.get_mut(index)) {
                spus.clone_from(&held.replicas);
            }
        }
    }
    Some(topic)
}

fn shape(held: &Assignment) -> Replicas {
    if held.placed_by_client {
        return Replicas::Assigned(Vec::new());
    }
    Replicas::Computed {
        partitions: 0,
        replication_factor: u32::try_from(held.factor()).unwrap_or(u32::MAX),
        ignore_rack: false,
    }
}

#[cfg(test)]
mod tests;
