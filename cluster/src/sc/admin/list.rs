//! Requests to list.

use super::seen::Seen;
use crate::link::PartitionKey;
use crate::sc::state::{PartitionView, TopicView};
use crate::wire::admin::{Kind, List, empty_list, list_partitions, list_spus, list_topics};
use crate::wire::{EncodeError, Frame, Header};

/// The answer. As upstream has it, names filter topics only, and system objects are listed apart.
pub fn answer(header: &Header, kind: Kind, asked: &List, seen: &Seen) -> Result<Frame, EncodeError> {
    match kind {
        Kind::Topic => list_topics(header, &topics(asked, seen)),
        Kind::Partition => list_partitions(header, &partitions(asked, seen)),
        Kind::Spu => {
            let spus: Vec<_> = seen.spus.iter().map(|(name, view)| (name, &**view)).collect();
            list_spus(header, &spus)
        }
        Kind::CustomSpu | Kind::SpuGroup | Kind::SmartModule | Kind::TableFormat | Kind::Mirror => {
            empty_list(header, kind)
        }
    }
}

fn topics<'a>(asked: &List, seen: &'a Seen) -> Vec<(&'a String, &'a TopicView)> {
    let named = |name: &str| asked.names.is_empty() || asked.names.iter().any(|part| name.contains(part));
    let topics = seen.topics.iter().map(|(name, view)| (name, &**view));
    topics.filter(|(name, view)| view.topic.spec.options.system == asked.system && named(name)).collect()
}

fn partitions<'a>(asked: &List, seen: &'a Seen) -> Vec<(&'a PartitionKey, &'a PartitionView)> {
    let partitions = seen.partitions.iter().map(|(key, view)| (key, &**view));
    partitions.filter(|(_, view)| view.options.system == asked.system).collect()
}
