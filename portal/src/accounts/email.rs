//! Which texts are email addresses for us. The proof of an address is the mail that arrives; these rules only
//! keep out what no mail server takes and what could break a header.

use crate::problem::Problem;

/// An address, trimmed. Its case is kept for mail and ignored for identity.
pub fn parse(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let fault = |detail: &str| Problem::invalid("email", detail, "Give an address such as ada@example.com.");
    if text.is_empty() {
        return Err(fault("The email address is empty."));
    }
    if text.len() > 254 {
        return Err(fault("The email address is longer than 254 characters."));
    }
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Err(fault("The email address has no @."));
    };
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
    let domain_ok = domain.split('.').all(|part| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    if !local_ok || !domain_ok {
        return Err(fault("That is not an email address."));
    }
    Ok(text.to_owned())
}

/// The form under which limits and identity see an address.
pub fn key(email: &str) -> String {
    email.trim().to_lowercase().chars().take(254).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in
            ["ada@example.com", " ada@example.com ", "a.b+c@x-y.example", "Ada@Example.COM", "a@localhost"]
        {
            assert_eq!(parse(good).unwrap(), good.trim(), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a b@example.com",
            "a@b@c.example",
            "ada@exa mple.com",
            "ada@-x.example",
            "ada@x..example",
            ".ada@example.com",
            "ada@example.com\r\nBcc: x@example.com",
            "<ada@example.com>",
            "a\u{0}@example.com",
            &long,
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identity_ignores_case() {
        assert_eq!(key(" Ada@Example.com"), key("ada@example.COM "));
    }
}
