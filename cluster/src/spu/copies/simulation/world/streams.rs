//! What a leader sends to its copies, and what they say back.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand::RngExt;

use super::super::spu::Spu;
use super::World;
use crate::peer::{Fed, Follow, Placed};
use crate::spu::copies::answer::{Facts, cut_to, objection};

/// From a leader to a copy, in order on each stream.
struct Batch {
    at: i64,
    bytes: Bytes,
    hw: i64,
}

/// One stream from a leader to a copy.
pub(super) struct Stream {
    pub(super) leader: i32,
    pub(super) copy: i32,
    pub(super) epoch: u32,
    pub(super) feed: u64,
    /// Where the leader's epoch begins.
    epoch_start: i64,
    sent_to: i64,
    sent_hw: i64,
    batches: VecDeque<Batch>,
    acks: VecDeque<i64>,
    said: i64,
}

impl Stream {
    /// As on the wire: what is durable is told when it changed, and after it is kept that the copy is whole.
    pub(super) fn say(&mut self, copy: &mut Spu) {
        let durable = copy.copy.ends().durable;
        if durable >= self.epoch_start && copy.is_whole(self.epoch).is_err() {
            return;
        }
        if self.said != durable {
            self.said = durable;
            self.acks.push_back(durable);
        }
    }
}

impl World {
    /// A copy asks its leader, and either cuts back or is fed from then on.
    pub(super) fn follow(&mut self, id: i32) {
        let copy = &self.spus[&id];
        let follows = copy.acts() && copy.feed.is_none() && copy.copy.is_writable();
        let Some(assignment) = copy.assignment.clone().filter(|_| follows) else { return };
        let Some(leader) = self.spus.get(&assignment.leader) else { return };
        let knows = leader.lead.as_ref().is_some_and(|lead| lead.knows(id));
        let leads = leader.acts() && knows && leader.epoch() == Some(assignment.epoch);
        if assignment.leader == id || !leads {
            return;
        }
        let position = copy.copy.ends().leo;
        let last_epoch = copy.copy.epoch_before(position);
        let placed = Placed { key: assignment.key.clone(), topic_id: assignment.topic_id };
        let follow = Follow { spu: id, placed, epoch: assignment.epoch, position, last_epoch };
        let facts = Facts {
            log_start: 0,
            leo: leader.copy.ends().leo,
            epoch_before: leader.copy.epoch_before(position),
            end_of_epoch: last_epoch.and_then(|epoch| leader.copy.end_of_epoch(epoch)),
        };
        match objection(&follow, &facts) {
            None => {}
            Some(Fed::Diverged { epoch, end }) => {
                let to = cut_to(copy.copy.end_of_epoch(epoch), end);
                assert!(to < position, "SPU {id} cuts nothing off");
                self.spus.get_mut(&id).unwrap().copy.cut(to).ok();
                return;
            }
            Some(other) => panic!("{other:?}"),
        }
        let stream = self.number();
        let (leader, epoch) = (assignment.leader, assignment.epoch);
        let lead = self.spus.get_mut(&leader).unwrap().lead.as_mut().unwrap();
        let (feed, epoch_start) = (lead.begin_feed(id, self.now_ms), lead.epoch_start());
        let mut fed = Stream {
            leader,
            copy: id,
            epoch,
            feed,
            epoch_start,
            sent_to: position,
            sent_hw: -1,
            batches: VecDeque::new(),
            acks: VecDeque::new(),
            said: -1,
        };
        let copy = self.spus.get_mut(&id).unwrap();
        copy.feed = Some(stream);
        fed.say(copy);
        self.streams.insert(stream, fed);
    }

    pub(super) fn feed(&mut self) {
        let open: Vec<u64> = self.streams.keys().copied().collect();
        let Some(stream) = self.pick(&open) else { return };
        let stream = self.streams.get_mut(&stream).unwrap();
        let leader = &self.spus[&stream.leader];
        let ends = leader.copy.ends();
        // As on the wire: nothing is said twice, or a stream that is read slowly would never run dry.
        if !leader.acts() || (stream.sent_to, stream.sent_hw) == (ends.leo, ends.hw) {
            return;
        }
        // A leader that cannot read ends the stream; here it only waits.
        let Ok((bytes, next)) = leader.copy.read(stream.sent_to) else { return };
        stream.batches.push_back(Batch { at: stream.sent_to, bytes, hw: ends.hw });
        (stream.sent_to, stream.sent_hw) = (next, ends.hw);
    }

    pub(super) fn hear_in_stream(&mut self) {
        let open: Vec<u64> = self.streams.keys().copied().collect();
        let Some(number) = self.pick(&open) else { return };
        let stream = self.streams.get_mut(&number).unwrap();
        if self.random.random_bool(0.5) {
            let copy = self.spus.get_mut(&stream.copy).unwrap();
            let Some(batch) = copy.acts().then(|| stream.batches.pop_front()).flatten() else { return };
            assert_eq!(batch.at, copy.copy.ends().leo);
            let taken = batch.bytes.is_empty() || copy.copy.take(stream.epoch, &batch.bytes).is_ok();
            if taken {
                copy.copy.commit(batch.hw);
            } else {
                // It asks again from where it stands.
                self.end_streams(|stream, spus| spus[&stream.copy].feed == Some(number));
            }
        } else {
            let leader = self.spus.get_mut(&stream.leader).unwrap();
            let (acts, ends) = (leader.acts(), leader.copy.ends());
            let Some(lead) = leader.lead.as_mut().filter(|_| acts) else { return };
            if let Some(durable) = stream.acks.pop_front() {
                lead.moved(ends, self.now_ms);
                lead.heard(stream.copy, stream.feed, durable, self.now_ms);
            }
        }
    }

    pub(super) fn end_streams(&mut self, ends: impl Fn(&Stream, &BTreeMap<i32, Spu>) -> bool) {
        let ended: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, stream)| ends(stream, &self.spus))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            let Some(stream) = self.streams.remove(&number) else { continue };
            let copy = self.spus.get_mut(&stream.copy).unwrap();
            copy.feed = copy.feed.filter(|feed| *feed != number);
            let leader = self.spus.get_mut(&stream.leader).unwrap();
            // The lead of a later epoch never heard of it.
            let same_epoch = leader.epoch() == Some(stream.epoch);
            if let Some(lead) = leader.lead.as_mut().filter(|_| same_epoch) {
                lead.end_feed(stream.copy, stream.feed);
            }
        }
    }
}
