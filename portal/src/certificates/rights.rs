//! What a certificate opens: a role's rights on every topic, or what rules give.

use cluster_settings::{RULES_MAX, Role, Rule};
use serde_json::{Value, json};

use crate::problem::Problem;

/// The words for a role in the database and the API.
const ROLES: [(Role, &str); 2] = [(Role::Admin, "admin"), (Role::User, "user")];

/// The rights of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// The same on every topic.
    Role(Role),
    /// Only what one of these gives; never without any.
    Rules(Vec<Rule>),
}

impl Rights {
    /// As rows have them: a role or rules. `None` when the principal is gone.
    pub fn of_row(role: Option<&str>, rules: Option<Vec<Rule>>) -> Option<Self> {
        match (role, rules) {
            (_, Some(rules)) => Some(Self::Rules(rules)),
            (Some(role), None) => known(role).map(Self::Role),
            (None, None) => None,
        }
    }

    /// A role by its name.
    pub fn of_role(name: &str) -> Result<Self, Problem> {
        let fault = || Problem::invalid("role", "A role is admin or user.", "Give one of the two.");
        known(name).map(Self::Role).ok_or_else(fault)
    }

    /// Rules in the form that people type and programs send, each checked.
    pub fn of_rules<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Problem> {
        let mut rules = Vec::new();
        for (index, text) in texts.into_iter().enumerate() {
            if index == RULES_MAX {
                let detail = format!("There are more than {RULES_MAX} rules.");
                return Err(Problem::invalid(
                    "rules",
                    detail,
                    "Use a prefix such as orders-* for several topics.",
                ));
            }
            rules.push(text.parse().map_err(|error| {
                let detail = format!("Rule {}: {error}.", index + 1);
                Problem::invalid(
                    "rules",
                    detail,
                    "Nothing was changed. A rule is such as produce,consume:orders-*.",
                )
            })?);
        }
        if rules.is_empty() {
            let detail = "There is no rule, so that nothing would be allowed.";
            return Err(Problem::invalid(
                "rules",
                detail,
                "Give a rule, such as produce:orders-*, or a role.",
            ));
        }
        Ok(Self::Rules(rules))
    }

    /// The name of the role, if that is what counts.
    pub fn role(&self) -> Option<&'static str> {
        let Self::Role(role) = self else { return None };
        ROLES.iter().find(|(known, _)| known == role).map(|(_, name)| *name)
    }

    /// The rules, if they are what counts.
    pub fn rules(&self) -> Option<&[Rule]> {
        if let Self::Rules(rules) = self { Some(rules) } else { None }
    }

    /// As the audit log tells it.
    pub fn told(&self) -> Value {
        match self {
            Self::Role(_) => json!(self.role()),
            Self::Rules(rules) => rules.iter().map(|rule| json!(rule.to_string())).collect(),
        }
    }
}

fn known(name: &str) -> Option<Role> {
    ROLES.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_a_role_or_rules_and_everything_else_says_what_is_wrong() {
        assert_eq!(Rights::of_role("user").unwrap().role(), Some("user"));
        assert!(Rights::of_role("root").is_err());
        let rights = Rights::of_rules(["produce:orders-*", "consume:a"]).unwrap();
        assert_eq!((rights.role(), rights.rules().map(<[Rule]>::len)), (None, Some(2)));
        assert_eq!(rights.told(), json!(["produce:orders-*", "consume:a"]));
        for (texts, said) in [
            (vec![], "no rule"),
            (vec!["orders"], "Rule 1: 'orders' is not a rule"),
            (vec!["produce:a", "write:b"], "Rule 2: 'write' is not a right"),
            (vec!["produce:Orders"], "names no topic"),
            (vec!["produce:a"; RULES_MAX + 1], "more than 64"),
        ] {
            let problem = Rights::of_rules(texts.clone()).unwrap_err().shown();
            assert!(problem.detail.contains(said), "{texts:?}: {}", problem.detail);
        }
        assert!(Rights::of_rules(vec!["produce:a"; RULES_MAX]).is_ok());
    }

    #[test]
    fn a_row_without_a_principal_has_no_rights() {
        let rules = vec!["produce:a".parse().unwrap()];
        assert_eq!(Rights::of_row(Some("admin"), None), Some(Rights::Role(Role::Admin)));
        assert_eq!(Rights::of_row(None, Some(rules.clone())), Some(Rights::Rules(rules)));
        assert_eq!(Rights::of_row(None, None), None);
    }
}
