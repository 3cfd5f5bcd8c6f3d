//! What was sent and is not acknowledged yet: a state machine without sockets or clocks.
//!
//! Each partition has a queue of batches in the order of the input. The first `in_flight` of them are on their way;
//! acknowledgements take from the front only, so that "acknowledged" is always a prefix. When a connection is lost or
//! an answer is an error, what was in flight for its partitions goes back to waiting, in place: it is sent again before
//! anything younger, unless it is found to be stored. Nothing is ever lost or sent in another order.

use std::collections::{BTreeMap, VecDeque};

use super::batch::Packed;

/// All partitions' queues.
#[derive(Debug, Default)]
pub struct Window {
    queues: BTreeMap<u32, Queue>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Packed>,
    in_flight: usize,
    /// How many of the waiting ones have been sent before.
    sent_before: usize,
}

/// What one request carried, so that its answer can be counted: partition and number of batches, in order.
pub type Carried = Vec<(u32, usize)>;

/// What an acknowledgement took off the window.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Records in the youngest of the batches.
    pub last: u32,
}

impl Window {
    /// Takes in a batch.
    pub fn push(&mut self, batch: Packed) {
        self.bytes += batch.size();
        self.queues.entry(batch.partition).or_default().batches.push_back(batch);
    }

    /// Bytes that are not acknowledged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Records that are not acknowledged.
    pub fn records(&self) -> u64 {
        self.queues.values().flat_map(|queue| &queue.batches).map(|batch| u64::from(batch.records)).sum()
    }

    /// Partitions with batches that wait to be sent.
    pub fn waiting(&self) -> impl Iterator<Item = u32> + '_ {
        let waits = |queue: &Queue| queue.batches.len() > queue.in_flight;
        self.queues.iter().filter(move |(_, queue)| waits(queue)).map(|(partition, _)| *partition)
    }

    /// Takes the oldest waiting batches of these partitions for one request of about `limit` bytes; at least one, if
    /// any waits. Answers them in order, what they are, and how many records among them were sent before.
    pub fn take(&mut self, partitions: &[u32], limit: usize) -> (Vec<Packed>, Carried, u64) {
        let (mut taken, mut carried, mut again, mut size) = (Vec::new(), Carried::new(), 0, 0);
        for partition in partitions {
            let Some(queue) = self.queues.get_mut(partition) else { continue };
            let mut count = 0;
            while let Some(batch) = queue.batches.get(queue.in_flight) {
                if !taken.is_empty() && size + batch.size() > limit {
                    break;
                }
                size += batch.size();
                if queue.sent_before > 0 {
                    queue.sent_before -= 1;
                    again += u64::from(batch.records);
                }
                taken.push(batch.clone());
                queue.in_flight += 1;
                count += 1;
            }
            if count > 0 {
                carried.push((*partition, count));
            }
        }
        (taken, carried, again)
    }

    /// The oldest `count` batches in flight of a partition are stored.
    pub fn acknowledge(&mut self, partition: u32, count: usize) -> Acknowledged {
        let mut done = Acknowledged::default();
        let Some(queue) = self.queues.get_mut(&partition) else { return done };
        for batch in queue.batches.drain(..count.min(queue.in_flight)) {
            done.records += u64::from(batch.records);
            done.bytes += batch.payload as u64;
            done.last = batch.records;
            self.bytes -= batch.size();
        }
        queue.in_flight -= count.min(queue.in_flight);
        done
    }

    /// Partitions with batches that were sent and whose answer is lost.
    pub fn in_doubt(&self) -> Vec<u32> {
        let in_doubt = self.queues.iter().filter(|(_, queue)| queue.sent_before > 0);
        in_doubt.map(|(partition, _)| *partition).collect()
    }

    /// Those batches, in order.
    pub fn doubtful(&self, partition: u32) -> Vec<&Packed> {
        let queue = self.queues.get(&partition);
        queue
            .map(|queue| queue.batches.iter().skip(queue.in_flight).take(queue.sent_before).collect())
            .unwrap_or_default()
    }

    /// The oldest `count` of the batches in doubt are stored; the others surely are not, or will be sent again for
    /// the sake of the order.
    pub fn resolve(&mut self, partition: u32, count: usize) -> Acknowledged {
        let Some(queue) = self.queues.get_mut(&partition).filter(|queue| queue.in_flight == 0) else {
            return Acknowledged::default();
        };
        let count = count.min(queue.sent_before);
        queue.sent_before -= count;
        queue.in_flight = count;
        self.acknowledge(partition, count)
    }

    /// What is in flight for a partition has to be sent again.
    pub fn rewind(&mut self, partition: u32) {
        if let Some(queue) = self.queues.get_mut(&partition) {
            queue.sent_before += queue.in_flight;
            queue.in_flight = 0;
        }
    }
}

#[cfg(test)]
mod tests;
