//! Requests to list.

use super::seen::{Objects, Seen};
use crate::link::PartitionKey;
use crate::sc::state::{PartitionView, TopicView};
use crate::wire::admin::{
    Kind, List, empty_list, list_custom_spus, list_partitions, list_spu_groups, list_spus,
    list_table_formats, list_topics,
};
use crate::wire::{EncodeError, Frame, Header};

/// The answer. As upstream has it, names filter neither partitions nor SPUs, and system objects are listed apart.
/// SmartModules have an answer of their own.
pub fn answer(header: &Header, kind: Kind, asked: &List, seen: &Seen) -> Result<Frame, EncodeError> {
    match kind {
        Kind::Topic => list_topics(header, &topics(asked, seen)),
        Kind::Partition => list_partitions(header, &partitions(asked, seen)),
        Kind::Spu => {
            let spus: Vec<_> = seen.spus.iter().map(|(name, view)| (name, &**view)).collect();
            list_spus(header, &spus)
        }
        Kind::CustomSpu => list_custom_spus(header, &named(asked, &seen.stored.custom_spus)),
        Kind::SpuGroup => list_spu_groups(header, &named(asked, &seen.spu_groups)),
        Kind::TableFormat => list_table_formats(header, &named(asked, &seen.stored.table_formats)),
        Kind::SmartModule | Kind::Mirror => empty_list(header, kind),
    }
}

fn topics<'a>(asked: &List, seen: &'a Seen) -> Vec<(&'a String, &'a TopicView)> {
    let mut topics = named(asked, &seen.topics);
    topics.retain(|(_, view)| view.topic.spec.options.system == asked.system);
    topics
}

/// Those whose name contains what was asked for.
fn named<'a, V>(asked: &List, objects: &'a Objects<String, V>) -> Vec<(&'a String, &'a V)> {
    let named = |name: &str| asked.names.is_empty() || asked.names.iter().any(|part| name.contains(part));
    objects.iter().filter(|(name, _)| named(name)).map(|(name, object)| (name, &**object)).collect()
}

fn partitions<'a>(asked: &List, seen: &'a Seen) -> Vec<(&'a PartitionKey, &'a PartitionView)> {
    let partitions = seen.partitions.iter().map(|(key, view)| (key, &**view));
    partitions.filter(|(_, view)| view.options.system == asked.system).collect()
}
