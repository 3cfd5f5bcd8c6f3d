//! What the SC does by itself when the world changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::World;
use super::topics::{NewTopic, create_topic, placed};
use crate::sc::metadata::{Metadata, Standing};
use crate::sc::topic::{CONSUMER_OFFSETS, TopicSpec};

/// Places the topics that wait and can be placed now; `None` if nothing changes.
pub fn provision(metadata: &Metadata, world: &World) -> Option<Metadata> {
    let mut next = metadata.clone();
    for (name, topic) in &metadata.topics {
        if topic.standing == Standing::Provisioned {
            continue;
        }
        // Against `next`, so that topics placed in this pass count as load.
        let settled = placed(&next, world, (**topic).clone());
        if settled != **topic {
            next.topics.insert(name.clone(), Arc::new(settled));
        }
    }
    if next.topics == metadata.topics {
        return None;
    }
    next.revision += 1;
    Some(next)
}

/// Makes the system topic of consumer offsets if it is missing: on the first SPU that is there, since that is
/// the last to be taken away.
pub fn ensure_consumer_offsets(metadata: &Metadata, world: &World, id: Uuid) -> Option<Metadata> {
    let mut world = world.clone();
    if let Some(first) = world.open().min() {
        world.spus.retain(|(id, _)| *id == first);
    }
    let new = NewTopic { name: Ok(CONSUMER_OFFSETS.into()), spec: Ok(TopicSpec::consumer_offsets()), id };
    create_topic(metadata, &world, new).ok()
}

/// An SPU has removed what it held of these incarnations.
pub fn confirm_retired(metadata: &Metadata, spu: i32, gone: &BTreeSet<Uuid>) -> Option<Metadata> {
    let mut next = metadata.clone();
    for id in gone {
        if let Some(holders) = next.retired.get_mut(id) {
            holders.remove(&spu);
        }
    }
    next.retired.retain(|_, holders| !holders.is_empty());
    if next.retired == metadata.retired {
        return None;
    }
    next.revision += 1;
    Some(next)
}
