//! Which clusters have their servers renewed at the same time: a few, so that a new version is seen to work before
//! it is everywhere.

use std::collections::{BTreeSet, VecDeque};

use uuid::Uuid;

/// See the module.
#[derive(Debug, Default)]
pub struct Rolls {
    under_way: BTreeSet<Uuid>,
    waiting: VecDeque<Uuid>,
}

impl Rolls {
    /// A cluster wants its servers renewed, or goes on with that.
    pub fn enter(&mut self, cluster: Uuid, most: usize) -> bool {
        if self.under_way.contains(&cluster) {
            return true;
        }
        if self.under_way.len() < most {
            self.under_way.insert(cluster);
            self.waiting.retain(|waiting| *waiting != cluster);
            return true;
        }
        if !self.waiting.contains(&cluster) {
            self.waiting.push_back(cluster);
        }
        false
    }

    /// A cluster needs no renewal (any more); gives the one whose turn it is now.
    pub fn leave(&mut self, cluster: Uuid) -> Option<Uuid> {
        if !self.under_way.remove(&cluster) {
            return None;
        }
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_at_a_time_and_each_in_its_turn() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let mut rolls = Rolls::default();
        assert!(rolls.enter(a, 2) && rolls.enter(b, 2) && rolls.enter(a, 2));
        assert!(!rolls.enter(c, 2) && !rolls.enter(c, 2));
        assert_eq!(rolls.leave(c), None, "it had no place");
        assert_eq!(rolls.leave(a), Some(c));
        assert!(rolls.enter(c, 2) && !rolls.enter(a, 2));
        assert_eq!(rolls.leave(b), Some(a));
        assert_eq!(rolls.leave(c), None);
    }
}
