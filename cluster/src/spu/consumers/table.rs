//! The offsets in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use uuid::Uuid;

use crate::link::{ConsumerOffset, PartitionKey, View};

/// Consumers kept; a client that makes up names must not fill the memory.
const MOST: usize = 100_000;

/// A consumer of a partition of one incarnation of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) replica: PartitionKey,
    pub(super) consumer: String,
    pub(super) topic_id: Uuid,
}

/// How far it came, and when it said so (seconds since 1970).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) modified: u64,
}

/// All offsets, and how much of what is stored is still needed.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Key, Entry>,
    n_stored: usize,
}

impl Table {
    /// Takes one stored record.
    pub(super) fn apply(&mut self, key: Key, entry: Option<Entry>) {
        self.n_stored += 1;
        match (self.entries.entry(key), entry) {
            (Slot::Occupied(mut slot), Some(entry)) => {
                slot.insert(entry);
            }
            (Slot::Occupied(slot), None) => {
                slot.remove();
            }
            (Slot::Vacant(slot), Some(entry)) => {
                slot.insert(entry);
            }
            (Slot::Vacant(_), None) => {}
        }
    }

    /// Whether there is a place for this consumer.
    pub(super) fn has_room_for(&self, key: &Key) -> bool {
        self.entries.len() < MOST || self.entries.contains_key(key)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Drops the consumers of topics that are gone. Before the SC has said which topics there are, none is.
    pub(super) fn keep_living(&mut self, view: &View) {
        if view.revision > 0 {
            self.entries.retain(|key, _| view.topics.get(&key.replica.topic) == Some(&key.topic_id));
        }
    }

    /// Those that are asked for.
    pub(super) fn list(&self, consumer: Option<&str>, replica: Option<&PartitionKey>) -> Vec<ConsumerOffset> {
        self.entries
            .iter()
            .filter(|(key, _)| consumer.is_none_or(|consumer| key.consumer == consumer))
            .filter(|(key, _)| replica.is_none_or(|replica| key.replica == *replica))
            .map(|(key, entry)| ConsumerOffset {
                consumer_id: key.consumer.clone(),
                key: key.replica.clone(),
                offset: entry.offset,
                modified: entry.modified,
            })
            .collect()
    }

    /// Whether most of what is stored is of no use any more.
    pub(super) fn is_stale(&self) -> bool {
        self.n_stored > 4096 + 4 * self.entries.len()
    }

    /// Everything that is needed.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The log now holds what is needed and nothing else.
    pub(super) fn compacted(&mut self) {
        self.n_stored = self.entries.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(consumer: &str, topic: &str, topic_id: u128) -> Key {
        let replica = PartitionKey { topic: topic.into(), partition: 0 };
        Key { consumer: consumer.into(), replica, topic_id: Uuid::from_u128(topic_id) }
    }

    fn at(offset: i64) -> Option<Entry> {
        Some(Entry { offset, modified: 5 })
    }

    #[test]
    fn the_last_record_counts() {
        let mut table = Table::default();
        table.apply(key("a", "t", 1), at(1));
        table.apply(key("a", "t", 1), at(2));
        table.apply(key("b", "t", 1), at(3));
        table.apply(key("b", "t", 1), None);
        let found = table.list(None, None);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].consumer_id.as_str(), found[0].offset), ("a", 2));
        assert!(table.list(Some("b"), None).is_empty());
        let other = PartitionKey { topic: "t".into(), partition: 1 };
        assert!(table.list(Some("a"), Some(&other)).is_empty());
    }

    #[test]
    fn a_topic_made_again_does_not_see_the_old_ones_consumers() {
        let mut table = Table::default();
        table.apply(key("a", "t", 1), at(1));
        table.apply(key("a", "gone", 2), at(1));
        let mut view = View::default();
        table.keep_living(&view);
        assert_eq!(table.list(None, None).len(), 2, "nothing is known of the topics yet");
        view.revision = 1;
        view.topics.insert("t".into(), Uuid::from_u128(9));
        table.keep_living(&view);
        assert!(table.list(None, None).is_empty());
    }

    #[test]
    fn many_moves_of_few_consumers_are_stale() {
        let mut table = Table::default();
        for offset in 0..5000 {
            table.apply(key("a", "t", 1), at(offset));
        }
        assert!(table.is_stale());
        table.compacted();
        assert!(!table.is_stale());
    }
}
