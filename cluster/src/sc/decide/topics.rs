//! What clients ask of topics. The checks come in upstream's order, because clients see the first that fails.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::World;
use super::place::{NoPlace, place};
use crate::sc::metadata::{Metadata, Standing, Topic};
use crate::sc::refusal::Refusal;
use crate::sc::topic::{Replicas, TopicSpec};

/// A topic that a client wants.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name, checked or refused.
    pub name: Result<String, Refusal>,
    /// Its spec, checked or refused.
    pub spec: Result<TopicSpec, Refusal>,
    /// The incarnation that it gets.
    pub id: Uuid,
}

/// Creates a topic. One that has no place yet exists all the same, and waits.
pub fn create_topic(metadata: &Metadata, world: &World, new: NewTopic) -> Result<Metadata, Refusal> {
    let name = new.name?;
    if metadata.topics.contains_key(&name) {
        return Err(Refusal::AlreadyExists(name));
    }
    let spec = new.spec?;
    if !spec.options.system {
        within_limit(metadata, world, spec.replicas.partitions())?;
    }
    let topic = placed(
        metadata,
        world,
        Topic { id: new.id, spec, standing: Standing::Provisioned, partitions: Default::default() },
    );
    Ok(metadata.with_topic(&name, topic))
}

/// Deletes a topic; its data goes when its SPUs have seen that it is retired.
pub fn delete_topic(metadata: &Metadata, name: &str, force: bool) -> Result<Metadata, Refusal> {
    let topic = metadata.topics.get(name).ok_or_else(|| Refusal::NotFound(name.into()))?;
    if topic.spec.options.system && !force {
        return Err(Refusal::SystemDeletion(name.into()));
    }
    let holders: BTreeSet<i32> = topic
        .partitions
        .values()
        .flat_map(|placed| placed.replicas.iter().chain(&placed.dropped))
        .copied()
        .collect();
    let mut next = metadata.clone();
    next.revision += 1;
    next.topics.remove(name);
    if !holders.is_empty() {
        next.retired.insert(topic.id, holders);
    }
    Ok(next)
}

/// Gives a topic `count` more partitions.
pub fn add_partitions(
    metadata: &Metadata,
    world: &World,
    name: &str,
    count: u32,
) -> Result<Metadata, Refusal> {
    let topic = metadata.topics.get(name).ok_or_else(|| Refusal::NotFound(name.into()))?;
    let Replicas::Computed { partitions, .. } = &topic.spec.replicas else {
        return Err(Refusal::ReplicaType(format!(
            "the partitions of topic '{name}' were placed by hand: only computed topics can get more"
        )));
    };
    if topic.spec.options.system {
        return Err(Refusal::SystemUpdate(name.into()));
    }
    if count == 0 {
        return Err(Refusal::Topic("the number of partitions to add must be greater than 0".into()));
    }
    within_limit(metadata, world, count)?;
    let total = partitions.saturating_add(count);
    let mut changed = Topic::clone(topic);
    if let Replicas::Computed { partitions, .. } = &mut changed.spec.replicas {
        *partitions = total;
    }
    Ok(metadata.with_topic(name, placed(metadata, world, changed)))
}

/// The topic with places for the partitions that have none, if there are places.
pub(super) fn placed(metadata: &Metadata, world: &World, mut topic: Topic) -> Topic {
    let first_new = topic.partitions.keys().next_back().map_or(0, |last| last.saturating_add(1));
    topic.standing = match place(metadata, world, &topic.spec.replicas, first_new) {
        Ok(places) => {
            topic.partitions.extend(places);
            Standing::Provisioned
        }
        Err(NoPlace::Yet(reason)) => Standing::Waiting(reason),
        Err(NoPlace::Ever(reason)) => Standing::Invalid(reason),
    };
    topic
}

fn within_limit(metadata: &Metadata, world: &World, n_more: u32) -> Result<(), Refusal> {
    let (n_now, limit) = (metadata.n_partitions(), world.partitions_limit);
    if n_now.saturating_add(n_more) > limit {
        return Err(Refusal::Topic(format!(
            "{n_more} more partitions would exceed the cluster's limit of {limit} (it has {n_now}): delete topics \
             that are not needed or ask for a higher limit"
        )));
    }
    Ok(())
}
