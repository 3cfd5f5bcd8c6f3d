//! What the leader of a partition knows of its copies, and what follows from it. Nothing here reads a clock, a
//! disk or a socket.

use std::collections::{BTreeMap, BTreeSet};

use crate::sc::metadata::{InSync, Placement};

/// A copy that has not caught up for this long is no longer waited for, in milliseconds.
pub(super) const LAG_MS: u64 = 5_000;

/// An ask that the SC did not answer is repeated after this long, in milliseconds.
const ASK_AGAIN_MS: u64 = 1_000;

/// One partition's copies in one epoch, as their leader sees them.
#[derive(Debug)]
pub(super) struct Leading {
    own: i32,
    n_replicas: usize,
    /// The set that the SC told last.
    in_sync: InSync,
    /// What the SC was asked for and has not answered, and when.
    asked: Option<(BTreeSet<i32>, u64)>,
    followers: BTreeMap<i32, Follower>,
    /// Where the log ends, and how far it is durable.
    leo: i64,
    durable: i64,
    hw: i64,
    /// Where this epoch's records begin.
    epoch_start: i64,
}

#[derive(Debug, Clone, Copy)]
struct Follower {
    durable: i64,
    /// When it last had everything.
    whole_ms: u64,
    /// Streams to it that are open: a new one may begin before the end of an old one is seen.
    n_feeds: u32,
}

/// Where the leader's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) leo: i64,
    pub(super) durable: i64,
    pub(super) hw: i64,
}

impl Leading {
    /// At the start of an epoch, nothing heard from anybody yet.
    pub(super) fn new(own: i32, replicas: &[i32], in_sync: InSync, ends: Ends, now_ms: u64) -> Self {
        let unheard = Follower { durable: -1, whole_ms: now_ms, n_feeds: 0 };
        let followers = replicas.iter().filter(|spu| **spu != own).map(|spu| (*spu, unheard)).collect();
        let Ends { leo, durable, hw } = ends;
        let n_replicas = replicas.len();
        Self { own, n_replicas, in_sync, asked: None, followers, leo, durable, hw, epoch_start: leo }
    }

    /// Where this epoch's records begin.
    pub(super) fn epoch_start(&self) -> i64 {
        self.epoch_start
    }

    /// The SC says which copies are in sync.
    pub(super) fn told(&mut self, in_sync: InSync) {
        if in_sync.version > self.in_sync.version {
            self.in_sync = in_sync;
            self.asked = None;
        }
    }

    /// The log's end moved. Whoever had everything up to now falls behind from now on.
    pub(super) fn moved(&mut self, ends: Ends, now_ms: u64) {
        if ends.leo > self.leo {
            let leo = self.leo;
            for follower in self.followers.values_mut().filter(|follower| follower.durable >= leo) {
                follower.whole_ms = now_ms;
            }
        }
        (self.leo, self.durable) = (ends.leo, ends.durable);
        self.hw = self.hw.max(ends.hw);
    }

    /// A stream to a copy began, or ended.
    pub(super) fn fed(&mut self, spu: i32, began: bool) {
        if let Some(follower) = self.followers.get_mut(&spu) {
            follower.n_feeds = match began {
                true => follower.n_feeds.saturating_add(1),
                false => follower.n_feeds.saturating_sub(1),
            };
        }
    }

    /// A copy has everything before `durable`.
    pub(super) fn heard(&mut self, spu: i32, durable: i64, now_ms: u64) {
        if let Some(follower) = self.followers.get_mut(&spu) {
            // Back is possible, too: it cut off what the former leader gave it.
            follower.durable = durable;
            if durable >= self.leo {
                follower.whole_ms = now_ms;
            }
        }
    }

    /// Up to where everything is committed.
    pub(super) fn committed(&mut self) -> i64 {
        if self.in_sync.spus.len() >= Placement::least_in_sync(self.n_replicas) {
            let asked = self.asked.iter().flat_map(|(asked, _)| asked);
            let counted = self.in_sync.spus.iter().chain(asked);
            let least = counted.map(|spu| self.durable_of(*spu)).min().unwrap_or(self.hw);
            self.hw = self.hw.max(least);
        }
        self.hw
    }

    fn durable_of(&self, spu: i32) -> i64 {
        if spu == self.own {
            self.durable
        } else {
            self.followers.get(&spu).map_or(-1, |known| known.durable)
        }
    }

    /// The set to ask the SC for, if it is another one than is in force; `None` if there is nothing to ask now.
    pub(super) fn ask(&mut self, now_ms: u64) -> Option<InSync> {
        let mut wanted: BTreeSet<i32> = self
            .followers
            .iter()
            .filter(|(spu, follower)| self.counts(**spu, follower, now_ms))
            .map(|(spu, _)| *spu)
            .chain([self.own])
            .collect();
        // Fewer than can commit are no use, so the last ones stay, however far they are behind.
        let stay: Vec<i32> = self.in_sync.spus.difference(&wanted).copied().collect();
        let least = Placement::least_in_sync(self.n_replicas);
        let n_missing = least.saturating_sub(wanted.len());
        wanted.extend(stay.into_iter().take(n_missing));
        // What was asked before may still be granted: then only another word of the SC settles it.
        if wanted == self.in_sync.spus && self.asked.is_none() {
            return None;
        }
        let waits = self.asked.as_ref().is_some_and(|(_, since)| now_ms < since + ASK_AGAIN_MS);
        if waits {
            return None;
        }
        // Both asks may be granted, one after the other.
        let counted = self.asked.take().map(|(asked, _)| asked).into_iter().flatten().chain(wanted.clone());
        self.asked = Some((counted.collect(), now_ms));
        Some(InSync { version: self.in_sync.version, spus: wanted })
    }

    fn counts(&self, spu: i32, follower: &Follower, now_ms: u64) -> bool {
        let whole = follower.durable >= self.leo;
        if self.in_sync.spus.contains(&spu) {
            return whole || now_ms < follower.whole_ms + LAG_MS;
        }
        // It has every committed record, and none of an epoch that this one does not know.
        follower.n_feeds > 0 && follower.durable >= self.hw.max(self.epoch_start)
    }
}

#[cfg(test)]
mod tests;
