//! What one client sees of the SC's state: the topics and partitions that it may know of, and everything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::access::{Action, Grant, On};
use crate::connection::Session;
use crate::link::PartitionKey;
use crate::sc::objects::{Objects as Stored, SpuGroup};
use crate::sc::state::{PartitionView, SpuView, State, TopicView};

/// Objects of one type, as a client sees them.
pub type Objects<K, V> = Arc<BTreeMap<K, Arc<V>>>;

/// One moment, as a client sees it.
#[derive(Debug, Default)]
pub struct Seen {
    /// Topics by name.
    pub topics: Objects<String, TopicView>,
    /// Partitions by key.
    pub partitions: Objects<PartitionKey, PartitionView>,
    /// SPUs by name.
    pub spus: Objects<String, SpuView>,
    /// Groups of them by name.
    pub spu_groups: Objects<String, SpuGroup>,
    /// What is stored beside topics.
    pub stored: Stored,
    /// Grows when anything changes but the numbers of partitions.
    pub urgent: u64,
}

impl Seen {
    /// What the client of this session sees now: nothing when it has no right to be there.
    pub fn of(state: &State, session: &Session) -> Self {
        let policy = session.policy();
        let grant = policy.as_ref().map(|policy| policy.grant_of(&session.credential, SystemTime::now()));
        match grant {
            Some(Ok(grant)) => Self::by(state, grant),
            Some(Err(_)) | None => Self::default(),
        }
    }

    fn by(state: &State, grant: &Grant) -> Self {
        let (topics, partitions) = match grant {
            // The same allocations, by which a watch sees at once that nothing changed.
            Grant::Role(_) => (Arc::clone(&state.topics), Arc::clone(&state.partitions)),
            Grant::Rules(_) => {
                let seen = |topic: &str| grant.allows(Action::ReadMetadata, On::Topic(topic));
                let topics = only(&state.topics, |name| seen(name));
                (topics, only(&state.partitions, |key| seen(&key.topic)))
            }
        };
        Self {
            topics,
            partitions,
            spus: Arc::clone(&state.all_spus),
            spu_groups: Arc::clone(&state.spu_groups),
            stored: state.metadata.objects.clone(),
            urgent: state.urgent,
        }
    }
}

fn only<K: Ord + Clone, V>(objects: &Objects<K, V>, seen: impl Fn(&K) -> bool) -> Objects<K, V> {
    let seen = objects.iter().filter(|(key, _)| seen(key));
    Arc::new(seen.map(|(key, view)| (key.clone(), Arc::clone(view))).collect())
}
