//! Rights as the command line gives and shows them: `produce,consume:orders-*`. What they mean, and whether the words are
//! right, is the portal's to say.

use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use crate::cloud::answers::Rule;

/// Rights on some topics or on all.
#[derive(Debug, Args)]
pub struct Rights {
    /// Allow this and nothing else, such as produce:orders-* or produce,consume:orders; may be given several times.
    /// The rights are produce, consume and admin (create, change, delete); * is every topic
    #[arg(long, value_name = "RIGHTS:TOPICS", conflicts_with = "role")]
    allow: Vec<Rule>,
    /// The same rights on every topic: admin (topics too) or user (produce and consume)
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

impl Rights {
    /// Says them in the body of a call.
    pub fn put_into(&self, body: &mut Value) {
        if !self.allow.is_empty() {
            body["rules"] = json!(self.allow);
        }
        if let Some(role) = &self.role {
            body["role"] = json!(role);
        }
    }
}

/// A role or rules on one line.
pub fn shown(role: Option<&str>, rules: Option<&[Rule]>) -> String {
    match rules {
        Some(rules) => rules.iter().map(text).collect::<Vec<_>>().join(" "),
        None => role.unwrap_or_default().to_owned(),
    }
}

fn text(rule: &Rule) -> String {
    format!("{}:{}", rule.rights.join(","), rule.topics)
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rights, topics) =
            text.split_once(':').ok_or("write rights, a colon and topics, such as produce:orders-*")?;
        let rights = rights.split(',').map(|right| right.trim().to_owned()).collect();
        Ok(Rule { topics: topics.trim().to_owned(), rights })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_sent_and_shown() {
        let allow = vec!["produce,consume:orders-*".parse().unwrap(), "admin:a".parse().unwrap()];
        assert_eq!(shown(Some("user"), Some(&allow)), "produce,consume:orders-* admin:a");
        assert_eq!((shown(Some("user"), None), shown(None, None)), ("user".into(), String::new()));
        let mut body = json!({});
        Rights { allow, role: None }.put_into(&mut body);
        assert_eq!(
            body,
            json!({"rules": [{"topics": "orders-*", "rights": ["produce", "consume"]},
                             {"topics": "a", "rights": ["admin"]}]})
        );
        let mut body = json!({});
        Rights { allow: Vec::new(), role: Some("user".into()) }.put_into(&mut body);
        assert_eq!(body, json!({"role": "user"}));
        assert!("orders".parse::<Rule>().is_err());
    }
}
