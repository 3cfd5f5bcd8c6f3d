//! Requests to list.

use crate::link::PartitionKey;
use crate::sc::state::{PartitionView, State, TopicView};
use crate::wire::admin::{Kind, List, empty_list, list_partitions, list_spus, list_topics};
use crate::wire::{EncodeError, Frame, Header};

/// The answer. As upstream has it, names filter topics only, and system objects are listed apart.
pub fn answer(header: &Header, kind: Kind, asked: &List, state: &State) -> Result<Frame, EncodeError> {
    match kind {
        Kind::Topic => list_topics(header, &topics(asked, state)),
        Kind::Partition => list_partitions(header, &partitions(asked, state)),
        Kind::Spu => {
            let spus: Vec<_> = state.spus.iter().map(|(name, view)| (name, &**view)).collect();
            list_spus(header, &spus)
        }
        Kind::CustomSpu | Kind::SpuGroup | Kind::SmartModule | Kind::TableFormat | Kind::Mirror => {
            empty_list(header, kind)
        }
    }
}

fn topics<'a>(asked: &List, state: &'a State) -> Vec<(&'a String, &'a TopicView)> {
    let named = |name: &str| asked.names.is_empty() || asked.names.iter().any(|part| name.contains(part));
    let topics = state.topics.iter().map(|(name, view)| (name, &**view));
    topics.filter(|(name, view)| view.topic.spec.options.system == asked.system && named(name)).collect()
}

fn partitions<'a>(asked: &List, state: &'a State) -> Vec<(&'a PartitionKey, &'a PartitionView)> {
    let partitions = state.partitions.iter().map(|(key, view)| (key, &**view));
    partitions.filter(|(_, view)| view.options.system == asked.system).collect()
}
