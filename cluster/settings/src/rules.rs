//! What a principal with rules may do: each rule gives rights on one topic, or on all whose names begin alike.
//!
//! As text, on a command line and in a form: `produce,consume:orders-*`. In the settings document:
//! `{"topics":"orders-*","rights":["produce","consume"]}`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Rules of one principal. More would be a list that nobody reads, and each is looked at for each request.
pub const RULES_MAX: usize = 64;

/// Bytes of a topic's name, by upstream's rule.
const NAME_MAX: usize = 63;

/// What can be given on a topic. None of them includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Append records.
    Produce,
    /// Read records, and keep consumers' offsets.
    Consume,
    /// Create, change and delete the topic.
    Admin,
}

/// Rights on some topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// On which.
    pub topics: TopicPattern,
    /// Which; without any the rule gives nothing.
    pub rights: BTreeSet<Right>,
}

/// A topic's name, or a prefix of names with `*` behind it; `*` alone is every topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(String);

/// The text is no rule.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RuleError {
    /// No colon.
    #[error("'{0}' is not a rule: write rights, a colon and topics, such as produce,consume:orders-*")]
    Form(String),
    /// A word before the colon.
    #[error("'{0}' is not a right: the rights are produce, consume and admin")]
    Right(String),
    /// Nothing behind the colon.
    #[error("a rule names a topic, a prefix such as orders-*, or * for every topic")]
    NoTopic,
    /// More than upstream allows.
    #[error("the topic name '{0}' is longer than 63 characters")]
    TooLong(String),
    /// A name that no topic can have.
    #[error(
        "'{0}' names no topic: names have lower-case letters, digits and hyphens, with no hyphen at either end; \
         only the last character may be *"
    )]
    Name(String),
}

impl Right {
    /// All of them, with their names.
    pub const ALL: [(Right, &'static str); 3] =
        [(Self::Produce, "produce"), (Self::Consume, "consume"), (Self::Admin, "admin")];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(right, _)| *right == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Right {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(right, _)| *right).ok_or_else(|| RuleError::Right(text.to_owned()))
    }
}

impl TopicPattern {
    /// Whether a topic of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.0,
        }
    }

    /// Whether it is every topic.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }
}

impl FromStr for TopicPattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (name, whole) = text.strip_suffix('*').map_or((text, true), |prefix| (prefix, false));
        if name.is_empty() && whole {
            return Err(RuleError::NoTopic);
        }
        if name.len() > NAME_MAX {
            return Err(RuleError::TooLong(text.to_owned()));
        }
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !name.bytes().all(known) || name.starts_with('-') || (whole && name.ends_with('-')) {
            return Err(RuleError::Name(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (rights, topics) = text.split_once(':').ok_or_else(|| RuleError::Form(text.trim().to_owned()))?;
        let rights = rights.split(',').map(|word| word.trim().parse()).collect::<Result<_, _>>()?;
        Ok(Self { topics: topics.trim().parse()?, rights })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.rights.iter().map(|right| right.name()).collect();
        write!(f, "{}:{}", names.join(","), self.topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_names_that_it_begins_or_is() {
        for (pattern, name, meant) in [
            ("orders", "orders", true),
            ("orders", "orders-a", false),
            ("orders", "order", false),
            ("orders-*", "orders-a", true),
            ("orders-*", "orders-", true),
            ("orders-*", "orders", false),
            ("orders-*", "my-orders-a", false),
            ("o*", "orders", true),
            ("*", "anything", true),
        ] {
            assert_eq!(pattern.parse::<TopicPattern>().unwrap().matches(name), meant, "{pattern} {name}");
        }
        assert!("*".parse::<TopicPattern>().unwrap().is_all());
        assert!(!"a*".parse::<TopicPattern>().unwrap().is_all());
    }

    #[test]
    fn only_names_that_a_topic_can_have_make_a_pattern() {
        let long = "a".repeat(63);
        for good in ["a", "0", "a-b", "a-*", "a*", "*", &long, &format!("{long}*")] {
            assert_eq!(good.parse::<TopicPattern>().unwrap().to_string(), good);
        }
        let name = |text: &str| RuleError::Name(text.to_owned());
        for wrong in ["A", "a_b", "a.b", "ä", "-a", "a-", "-*", "a*b", "**", "*a", "a b", "a\n", "a:b"] {
            assert_eq!(wrong.parse::<TopicPattern>(), Err(name(wrong)), "{wrong}");
        }
        assert_eq!("".parse::<TopicPattern>(), Err(RuleError::NoTopic));
        let longer = "a".repeat(64);
        assert_eq!(longer.parse::<TopicPattern>(), Err(RuleError::TooLong(longer.clone())));
    }

    #[test]
    fn a_rule_reads_what_it_writes_and_says_what_is_wrong() {
        for (text, written) in [
            ("produce:orders-*", "produce:orders-*"),
            ("admin,produce:a", "produce,admin:a"),
            (" consume , consume : * ", "consume:*"),
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(rule.to_string(), written);
            assert_eq!(written.parse::<Rule>().unwrap(), rule);
        }
        for (text, error) in [
            ("orders", RuleError::Form("orders".into())),
            ("", RuleError::Form(String::new())),
            (":orders", RuleError::Right(String::new())),
            ("write:orders", RuleError::Right("write".into())),
            ("produce,:orders", RuleError::Right(String::new())),
            ("Produce:orders", RuleError::Right("Produce".into())),
            ("produce:", RuleError::NoTopic),
            ("produce:Orders", RuleError::Name("Orders".into())),
        ] {
            assert_eq!(text.parse::<Rule>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_documents_form_is_fixed_and_checked() {
        let text = r#"{"topics":"orders-*","rights":["produce","consume"]}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        for wrong in [
            r#"{"topics":"Orders","rights":["produce"]}"#,
            r#"{"topics":"orders","rights":["all"]}"#,
            r#"{"topics":"orders"}"#,
            r#"{"topics":"orders","rights":[],"more":1}"#,
        ] {
            assert!(serde_json::from_str::<Rule>(wrong).is_err(), "{wrong}");
        }
    }
}
