//! What the leader of a partition knows of its copies, and what follows from it. Nothing here reads a clock, a
//! disk or a socket.

use std::collections::{BTreeMap, BTreeSet};

use crate::link::Assignment;
use crate::sc::metadata::{InSync, majority};

/// A copy that has not caught up for this long is no longer waited for, in milliseconds.
pub(super) const LAG_MS: u64 = 5_000;

/// An ask that the SC did not answer is repeated after this long, in milliseconds.
const ASK_AGAIN_MS: u64 = 1_000;

/// One partition's copies in one epoch, as their leader sees them.
#[derive(Debug)]
pub(super) struct Leading {
    own: i32,
    /// Fewer in sync commit nothing.
    least: usize,
    /// The set that the SC told last.
    in_sync: InSync,
    /// What the SC was asked for and has not answered, and when.
    asked: Option<(BTreeSet<i32>, u64)>,
    followers: BTreeMap<i32, Follower>,
    /// Those of them that copies move to.
    added: BTreeSet<i32>,
    n_feeds: u64,
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
    /// The stream to it that began last, if it has not ended. What an older one says is of a time before, perhaps of
    /// another disk.
    feed: Option<u64>,
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
    pub(super) fn new(own: i32, assignment: &Assignment, ends: Ends, now_ms: u64) -> Self {
        let Ends { leo, durable, hw } = ends;
        let mut leading = Self {
            own,
            least: 1,
            in_sync: assignment.in_sync.clone(),
            asked: None,
            followers: BTreeMap::new(),
            added: BTreeSet::new(),
            n_feeds: 0,
            leo,
            durable,
            hw,
            epoch_start: leo,
        };
        leading.lead(assignment, now_ms);
        leading
    }

    fn lead(&mut self, assignment: &Assignment, now_ms: u64) {
        let followers = assignment.replicas.iter().filter(|spu| **spu != self.own);
        let unheard = Follower { durable: -1, whole_ms: now_ms, feed: None };
        let known = |spu: &i32| (*spu, self.followers.get(spu).copied().unwrap_or(unheard));
        self.followers = followers.map(known).collect();
        self.added = assignment.replicas.iter().skip(assignment.factor()).copied().collect();
        self.least = majority(assignment.factor());
    }

    /// Where this epoch's records begin.
    pub(super) fn epoch_start(&self) -> i64 {
        self.epoch_start
    }

    /// Whether this SPU has a copy, as far as the SC has told: what it says before that would be forgotten.
    pub(super) fn knows(&self, spu: i32) -> bool {
        self.followers.contains_key(&spu)
    }

    /// Whether this SPU's copy is one more than the topic has, and nothing waits for it.
    pub(super) fn adds(&self, spu: i32) -> bool {
        self.added.contains(&spu) && !self.in_sync.spus.contains(&spu)
    }

    /// The SC says which copies there are, and which are in sync.
    pub(super) fn told(&mut self, assignment: &Assignment, now_ms: u64) {
        if assignment.in_sync.version > self.in_sync.version {
            self.in_sync = assignment.in_sync.clone();
            self.asked = None;
            self.lead(assignment, now_ms);
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

    /// A stream to a copy begins, and what was heard from it before counts no more: its disk may be another one now.
    /// Returns the stream's number.
    /// It has the time of any other to catch up.
    pub(super) fn begin_feed(&mut self, spu: i32, now_ms: u64) -> u64 {
        self.n_feeds += 1;
        if let Some(follower) = self.followers.get_mut(&spu) {
            *follower = Follower { durable: -1, whole_ms: now_ms, feed: Some(self.n_feeds) };
        }
        self.n_feeds
    }

    /// Whether this is the stream that counts: the copy was not taken away since, nor another begun.
    pub(super) fn feeds(&self, spu: i32, feed: u64) -> bool {
        self.followers.get(&spu).is_some_and(|follower| follower.feed == Some(feed))
    }

    /// A stream to a copy ended.
    pub(super) fn end_feed(&mut self, spu: i32, feed: u64) {
        if let Some(follower) = self.followers.get_mut(&spu) {
            follower.feed.take_if(|current| *current == feed);
        }
    }

    /// A copy says on a stream that it has everything before `durable`.
    pub(super) fn heard(&mut self, spu: i32, feed: u64, durable: i64, now_ms: u64) {
        if let Some(follower) = self.followers.get_mut(&spu).filter(|known| known.feed == Some(feed)) {
            follower.durable = durable;
            if durable >= self.leo {
                follower.whole_ms = now_ms;
            }
        }
    }

    /// Up to where everything is committed.
    pub(super) fn committed(&mut self) -> i64 {
        if self.in_sync.spus.len() >= self.least {
            let asked = self.asked.iter().flat_map(|(asked, _)| asked);
            let counted = self.in_sync.spus.iter().chain(asked);
            let least = counted.map(|spu| self.durable_of(*spu)).min().unwrap_or(self.hw);
            // Records of leaders before are committed only with all that this one began with (the Raft paper's section
            // 5.4.2): else a copy that ends in an epoch between theirs and this one could be taken for one with more.
            if least >= self.epoch_start {
                self.hw = self.hw.max(least);
            }
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
        let n_missing = self.least.saturating_sub(wanted.len());
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
        follower.feed.is_some() && follower.durable >= self.hw.max(self.epoch_start)
    }
}

#[cfg(test)]
mod tests;
