//! The words of our mails: plain text, short sentences. Lines stay short and ASCII, so that no encoding breaks a
//! link in two.

/// A subject and a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject.
    pub subject: &'static str,
    /// The text.
    pub text: String,
}

/// To somebody who signed up.
pub fn verify(link: &str) -> Letter {
    Letter {
        subject: "Verify your address for Fluvio Cloud",
        text: format!(
            "Somebody signed up to Fluvio Cloud with this address.\n\n\
             If it was you, open this link and press the button:\n\n{link}\n\n\
             The link works once, for a day. Your first cluster starts with it.\n\n\
             If it was not you, do nothing. Without the link there is no account.\n"
        ),
    }
}

/// To somebody whose address was used for one more sign-up.
pub fn address_in_use(public_url: &str) -> Letter {
    Letter {
        subject: "You have an account at Fluvio Cloud",
        text: format!(
            "Somebody signed up to Fluvio Cloud with this address, which has an account already.\n\n\
             If it was you, log in with your password:\n\n{public_url}/login\n\n\
             If it was not you, do nothing. Nothing was changed, and whoever it was has learned nothing.\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_plain_ascii_with_the_link_on_a_line_of_its_own() {
        let link = "http://127.0.0.1:8080/verify?token=abc_-123";
        let letter = verify(link);
        assert!(letter.text.is_ascii() && letter.text.lines().any(|line| line == link));
        let letter = address_in_use("http://127.0.0.1:8080");
        assert!(
            letter.text.is_ascii() && letter.text.lines().any(|line| line == "http://127.0.0.1:8080/login")
        );
    }
}
