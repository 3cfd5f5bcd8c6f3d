//! Which partition a record goes to: by the same rule as the published client, so that a key stays in its partition
//! whoever produces it.

use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher;

/// The rule of one run.
#[derive(Debug)]
pub enum Partitioner {
    /// All records go to one partition.
    One(u32),
    /// Keys by their hash over all partitions; records without a key in turn over those that can be written to.
    Spread {
        /// Partitions of the topic.
        count: u32,
        /// Those that were online when the run began.
        available: Vec<u32>,
        /// Whose turn it is.
        turn: usize,
    },
}

impl Partitioner {
    /// Spreads over a topic's partitions.
    pub fn spread(count: u32, available: Vec<u32>) -> Self {
        let available = if available.is_empty() { (0..count).collect() } else { available };
        Self::Spread { count, available, turn: 0 }
    }

    /// The partition of the next record.
    pub fn choose(&mut self, key: Option<&[u8]>) -> u32 {
        match (self, key) {
            (Self::One(partition), _) => *partition,
            (Self::Spread { count, .. }, Some(key)) => by_key(key, *count),
            (Self::Spread { available, turn, .. }, None) => {
                let partition = available.get(*turn).copied().unwrap_or_default();
                *turn = (*turn + 1) % available.len().max(1);
                partition
            }
        }
    }
}

fn by_key(key: &[u8], count: u32) -> u32 {
    let mut hasher = SipHasher::new();
    key.hash(&mut hasher);
    let partition = hasher.finish() % u64::from(count.max(1));
    u32::try_from(partition).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_key_take_turns_over_what_is_online() {
        let mut all = Partitioner::spread(3, vec![]);
        assert_eq!([0; 5].map(|_| all.choose(None)), [0, 1, 2, 0, 1]);
        let mut some = Partitioner::spread(3, vec![0, 2]);
        assert_eq!([0; 4].map(|_| some.choose(None)), [0, 2, 0, 2]);
    }

    #[test]
    fn a_key_has_one_partition_among_all_even_when_some_are_offline() {
        let mut all = Partitioner::spread(7, vec![]);
        let mut some = Partitioner::spread(7, vec![1]);
        for key in [b"ada".as_slice(), b"", b"grace", &[0xff, 0x00]] {
            let partition = all.choose(Some(key));
            assert!(partition < 7);
            assert_eq!(some.choose(Some(key)), partition);
            assert_eq!(all.choose(Some(key)), partition);
        }
    }

    #[test]
    fn one_partition_takes_everything_if_it_is_named() {
        let mut one = Partitioner::One(4);
        assert_eq!([one.choose(None), one.choose(Some(b"k"))], [4, 4]);
    }
}
