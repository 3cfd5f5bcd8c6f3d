//! What a cluster may be called.

use crate::problem::Problem;

/// The most characters of a name.
const MOST: usize = 32;

/// Checks a name that a tenant chose.
pub fn check(name: &str) -> Result<(), Problem> {
    let fault = match name.as_bytes() {
        [] => Some("The name is empty."),
        bytes if bytes.len() > MOST => Some("The name is longer than 32 characters."),
        [first, ..] if !first.is_ascii_lowercase() => {
            Some("The name does not begin with a lower-case letter.")
        }
        [.., b'-'] => Some("The name ends with a hyphen."),
        bytes if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') => {
            Some("The name has characters other than lower-case letters, digits and hyphens.")
        }
        _ => None,
    };
    let Some(fault) = fault else { return Ok(()) };
    Err(Problem::invalid("name", fault, suggestion(name)))
}

/// The nearest name that would be right.
fn suggestion(name: &str) -> String {
    let mut near: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(MOST)
        .collect();
    near.truncate(near.trim_end_matches('-').len());
    if near.is_empty() {
        return "Choose a name such as orders or staging-2.".into();
    }
    format!("Try {near}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_short_and_begin_with_a_letter() {
        let long = "a".repeat(33);
        for (name, good) in [
            ("a", true),
            ("main", true),
            ("orders-2", true),
            (&"a".repeat(32), true),
            ("", false),
            (&long, false),
            ("2orders", false),
            ("-orders", false),
            ("orders-", false),
            ("Orders", false),
            ("or ders", false),
            ("or_ders", false),
            ("ördérs", false),
            ("or\nders", false),
            ("or.ders", false),
        ] {
            assert_eq!(check(name).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn a_refused_name_comes_with_one_that_would_pass() {
        for (name, near) in [
            ("My Orders", "Try my-orders."),
            ("2nd_stage", "Try nd-stage."),
            ("orders-", "Try orders."),
            ("!!!", "Choose a name such as orders or staging-2."),
        ] {
            assert_eq!(suggestion(name), near);
            if let Some(near) = near.strip_prefix("Try ").and_then(|rest| rest.strip_suffix('.')) {
                assert!(check(near).is_ok(), "{near}");
            }
        }
    }
}
