//! What a client can do, and which role may.

use cluster_settings::Role;

/// Everything that a request can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See topics, partitions, SPUs and the other objects: list and watch.
    ReadMetadata,
    /// Create, change and delete topics and the other objects.
    ChangeMetadata,
    /// Append records.
    Produce,
    /// Read records and partitions' offsets.
    Consume,
    /// Read, move and delete consumers' stored offsets.
    ConsumerOffsets,
}

impl Action {
    /// Its bit in a set of actions.
    pub(crate) fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Every action.
    pub const ALL: [Action; 5] =
        [Self::ReadMetadata, Self::ChangeMetadata, Self::Produce, Self::Consume, Self::ConsumerOffsets];
}

/// Whether the role may do it, on whatever topic.
pub fn authorize(role: Role, action: Action) -> bool {
    match role {
        Role::Admin => true,
        Role::User => match action {
            Action::ReadMetadata | Action::Produce | Action::Consume | Action::ConsumerOffsets => true,
            Action::ChangeMetadata => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rights() {
        for (action, user) in [
            (Action::ReadMetadata, true),
            (Action::ChangeMetadata, false),
            (Action::Produce, true),
            (Action::Consume, true),
            (Action::ConsumerOffsets, true),
        ] {
            assert!(authorize(Role::Admin, action), "{action:?}");
            assert_eq!(authorize(Role::User, action), user, "{action:?}");
        }
    }

    #[test]
    fn every_action_has_a_bit_of_its_own() {
        let all = Action::ALL.iter().fold(0, |set, action| set | action.bit());
        assert_eq!(all.count_ones() as usize, Action::ALL.len());
    }
}
