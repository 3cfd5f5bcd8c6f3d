//! What a principal may do, and on which topic: by its role everywhere, or by its rules only where one names the topic.

use cluster_settings::{AccessEntry, Right, Role, Rule};

use super::{Action, authorize};
use crate::sc::topic::CONSUMER_OFFSETS;

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On<'a> {
    /// A topic, which need not exist: who may not see it cannot find out.
    Topic(&'a str),
    /// None in particular: SPUs and other objects, and lists, whose items are then asked for one by one.
    Cluster,
}

impl<'a> On<'a> {
    /// The topic if there is one.
    pub fn of(topic: Option<&'a str>) -> Self {
        topic.map_or(Self::Cluster, Self::Topic)
    }
}

/// What one principal was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A role's rights on everything.
    Role(Role),
    /// What these rules give, and nothing else.
    Rules(Vec<Rule>),
}

impl Grant {
    /// What an entry of the access list gives.
    pub fn of(entry: &AccessEntry) -> Self {
        match &entry.rules {
            None => Self::Role(entry.role),
            Some(rules) => Self::Rules(rules.clone()),
        }
    }

    /// Whether it allows the action.
    pub fn allows(&self, action: Action, on: On<'_>) -> bool {
        match (self, on) {
            (Self::Role(role), _) => authorize(*role, action),
            (Self::Rules(_), On::Cluster) => match action {
                Action::ReadMetadata | Action::ConsumerOffsets => true,
                Action::ChangeMetadata | Action::Produce | Action::Consume => false,
            },
            (Self::Rules(rules), On::Topic(topic)) => rules_allow(rules, action, topic),
        }
    }
}

fn rules_allow(rules: &[Rule], action: Action, topic: &str) -> bool {
    // Clients that keep a consumer's offset find the SPU to talk to by this topic, which tells nothing by being there.
    if topic == CONSUMER_OFFSETS && action == Action::ReadMetadata {
        return rules.iter().any(|rule| gives(rule, action));
    }
    rules.iter().any(|rule| names(rule, topic) && gives(rule, action))
}

fn names(rule: &Rule, topic: &str) -> bool {
    // Its records name consumers and topics of all, so a prefix that happens to fit is not enough.
    if topic == CONSUMER_OFFSETS { rule.topics.is_all() } else { rule.topics.matches(topic) }
}

fn gives(rule: &Rule, action: Action) -> bool {
    match action {
        Action::ReadMetadata => !rule.rights.is_empty(),
        Action::ChangeMetadata => rule.rights.contains(&Right::Admin),
        Action::Produce => rule.rights.contains(&Right::Produce),
        Action::Consume | Action::ConsumerOffsets => rule.rights.contains(&Right::Consume),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Grant {
        Grant::Rules(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    /// What is allowed of (read metadata, change metadata, produce, consume, consumer offsets), as letters.
    fn allowed(grant: &Grant, on: On<'_>) -> String {
        let letters = "rmpco".chars().zip(Action::ALL);
        letters.map(|(letter, action)| if grant.allows(action, on) { letter } else { '-' }).collect()
    }

    #[test]
    fn the_table_of_rules_and_topics() {
        let prefix = &["produce:orders-*"][..];
        let three = &["consume:orders", "produce:orders-*", "admin:orders-eu"][..];
        for (given, topic, expected) in [
            (&[][..], "orders", "-----"),
            (prefix, "orders-a", "r-p--"),
            (prefix, "orders-", "r-p--"),
            (prefix, "orders", "-----"),
            (prefix, "secret", "-----"),
            (&["consume:orders-*"], "orders-a", "r--co"),
            (&["admin:orders-*"], "orders-a", "rm---"),
            (&["produce,consume,admin:*"], "secret", "rmpco"),
            (three, "orders", "r--co"),
            (three, "orders-eu", "rmp--"),
            (three, "orders-us", "r-p--"),
            (three, "order", "-----"),
            // Rules add up.
            (&["produce:a*", "consume:ab*"], "abc", "r-pco"),
            // The topic of consumers' offsets tells of all topics.
            (prefix, CONSUMER_OFFSETS, "r----"),
            (&["produce,consume,admin:consumer-*"], CONSUMER_OFFSETS, "r----"),
            (&["consume:consumer-offset"], CONSUMER_OFFSETS, "r----"),
            (&["consume:*"], CONSUMER_OFFSETS, "r--co"),
            (&[], CONSUMER_OFFSETS, "-----"),
        ] {
            assert_eq!(allowed(&rules(given), On::Topic(topic)), expected, "{given:?} on {topic}");
        }
    }

    #[test]
    fn without_rules_the_role_counts_on_every_topic() {
        for on in [On::Topic("orders"), On::Topic(CONSUMER_OFFSETS), On::Cluster] {
            assert_eq!(allowed(&Grant::Role(Role::Admin), on), "rmpco");
            assert_eq!(allowed(&Grant::Role(Role::User), on), "r-pco");
        }
    }

    #[test]
    fn rules_give_nothing_on_the_cluster_but_to_look_and_ask() {
        for given in [&[][..], &["produce:a"], &["produce,consume,admin:*"]] {
            assert_eq!(allowed(&rules(given), On::Cluster), "r---o", "{given:?}");
        }
    }

    #[test]
    fn a_rule_without_rights_gives_nothing_and_shows_nothing() {
        let rule = Rule { topics: "*".parse().unwrap(), rights: [].into() };
        assert_eq!(allowed(&Grant::Rules(vec![rule]), On::Topic("orders")), "-----");
    }

    #[test]
    fn an_entry_gives_its_role_or_its_rules_never_both() {
        let entry = |rules| AccessEntry { principal: uuid::Uuid::nil(), role: Role::Admin, rules };
        assert_eq!(Grant::of(&entry(None)), Grant::Role(Role::Admin));
        assert_eq!(Grant::of(&entry(Some(Vec::new()))), Grant::Rules(Vec::new()));
        let given: Rule = "produce:a".parse().unwrap();
        let grant = Grant::of(&entry(Some(vec![given])));
        assert!(!grant.allows(Action::ChangeMetadata, On::Topic("a")), "the role adds nothing to rules");
    }
}
