//! What the SC learns from SPUs that come: all of it, where it has no disk of its own to know it from.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::Durability;
use tokio::time::Instant;
use uuid::Uuid;

use super::Engine;
use crate::link::Assignment;
use crate::sc::SpuHello;
use crate::sc::decide::{self, Came, Heard};
use crate::sc::metadata::Metadata;

/// More elections than an SPU that stays away can have heard of and the others not.
const UNHEARD_EPOCHS: u32 = 1 << 16;

/// Where the disk does not take what was gathered, it is tried again after this long.
pub(super) const WRITTEN_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Learns from what an SPU holds. An SC without a disk gathers it first: until all have come it knows too little to
    /// decide anything, or to write it down.
    pub(super) async fn learn(
        &mut self,
        spu: i32,
        hello: &SpuHello,
        durability: Durability,
    ) -> Result<(), String> {
        let known = Arc::clone(&self.state.metadata);
        let holds: BTreeSet<_> = hello.held.iter().map(|held| (held.topic_id, held.key.partition)).collect();
        if let Some(next) = decide::adopt(&known, &hello.held) {
            let n_topics = next.topics.len() - known.topics.len();
            tracing::warn!(spu, n_topics, "taking over partitions that the metadata does not have");
            match self.state.open {
                true => {
                    // Others who were away may have heard of further epochs.
                    let fenced = decide::fenced(&known, &next, UNHEARD_EPOCHS);
                    let heard = self.heard_while_open(spu, &holds);
                    let led = decide::learnt_late(&known, &fenced, &heard, &self.named());
                    self.commit(led).await.map_err(|error| error.to_string())?
                }
                false => self.state.metadata = Arc::new(next),
            }
        }
        self.name_strangers(spu, &hello.held);
        let heard = decide::heard_at_last(&self.state.metadata, spu, &holds).filter(|_| self.state.open);
        if let Some(next) = heard {
            self.commit(next).await.map_err(|error| error.to_string())?;
        }
        if !self.state.open {
            let before = self.gathered.get(&spu).is_some_and(|(fresh, _)| *fresh);
            self.gathered.insert(spu, (hello.fresh || before, holds));
        } else if hello.fresh {
            let came = Came { spu, fresh: true, holds: &holds, durability };
            if let Some(next) = decide::came_back(&self.state.metadata, &self.state.world(&self.live), &came)
            {
                self.commit(next).await.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// What those that came have on their disks. What was in memory only is forgotten in a new process.
    pub(super) fn heard(&self) -> Heard {
        let settings = self.state.settings.as_deref();
        let in_memory = settings.is_some_and(|settings| settings.durability == Durability::Memory);
        let has = |(fresh, holds): &(bool, BTreeSet<_>)| match *fresh && in_memory {
            true => BTreeSet::new(),
            false => holds.clone(),
        };
        self.gathered.iter().map(|(spu, gathered)| (*spu, has(gathered))).collect()
    }

    /// The same once this SC serves: those that came before have what the metadata gives them.
    fn heard_while_open(&self, spu: i32, holds: &BTreeSet<(Uuid, u32)>) -> Heard {
        let placed_on = |spu: &i32| {
            let on_it = self.state.metadata.placed().filter(|(_, _, placed)| placed.replicas.contains(spu));
            on_it.map(|(topic, index, _)| (topic.id, index)).collect()
        };
        let before = self.came.iter().map(|spu| (*spu, placed_on(spu)));
        before.chain([(spu, holds.clone())]).collect()
    }

    /// Whether so many SPUs have come that nothing acknowledged can be missing.
    pub(super) fn knows_enough(&self) -> bool {
        decide::heard_enough(&self.state.metadata, &self.heard(), &self.named())
    }

    /// The SPUs that the cluster has.
    pub(super) fn named(&self) -> BTreeSet<i32> {
        self.state.settings.iter().flat_map(|settings| &settings.spus).map(|spu| spu.id).collect()
    }

    /// Those of them that have not come since this SC started.
    pub(super) fn missing(&self) -> BTreeSet<i32> {
        &self.named() - &self.came
    }

    /// What was gathered becomes what is so.
    pub(super) async fn open_with_what_was_gathered(&mut self) {
        // Whoever has not come may have heard of further epochs.
        let all_came = self.missing().is_empty();
        let epochs = if all_came { 1 } else { UNHEARD_EPOCHS };
        let fenced = decide::fenced(&Metadata::default(), &self.state.metadata, epochs);
        let mut next = match all_came {
            true => fenced,
            false => decide::without_leaders(&fenced, &self.heard(), &self.named()),
        };
        let durability =
            self.state.settings.as_ref().map_or(Durability::Disk, |settings| settings.durability);
        let world = self.state.world(&self.live);
        // Others may not have heard yet that one has dropped its copy, so what each has itself counts.
        for (spu, (fresh, holds)) in &self.gathered {
            let came = Came { spu: *spu, fresh: *fresh, holds, durability };
            next = decide::came_back(&next, &world, &came).unwrap_or(next);
        }
        match self.commit(next).await {
            Ok(()) => {
                self.state.open = true;
                self.due.give_up_waiting = None;
                self.gathered.clear();
                self.publish_all();
            }
            Err(error) => {
                tracing::error!(%error, "what the SPUs hold was not kept: trying again");
                self.due.give_up_waiting = Some(Instant::now() + WRITTEN_AGAIN);
            }
        }
    }

    /// Data whose name another incarnation has taken is never deleted unasked, so somebody has to know of it.
    fn name_strangers(&self, spu: i32, held: &[Assignment]) {
        let metadata = &self.state.metadata;
        for stranger in held.iter().filter(|held| {
            !metadata.has_incarnation(held.topic_id) && !metadata.retired.contains_key(&held.topic_id)
        }) {
            let (partition, incarnation) = (&stranger.key, stranger.topic_id);
            tracing::error!(spu, %partition, %incarnation, "the SPU holds data of an unknown topic: kept, not served");
        }
    }
}
