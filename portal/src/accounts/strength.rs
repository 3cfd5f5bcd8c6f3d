//! Which passwords are good enough: length and guessability, no rules about kinds of characters.

use crate::problem::Problem;

/// At least so many characters.
const LEAST: usize = 8;
/// At most so many, to bound the work.
const MOST: usize = 1_024;
/// The estimator looks at so many; a longer password is not weaker than its beginning.
const ESTIMATED: usize = 100;

/// Refuses a password that would be guessed, and says why.
pub fn check(password: &str, email: &str) -> Result<(), Problem> {
    let fix = "Use a few words that do not belong together, or let a password manager make one.";
    let length = password.chars().count();
    if length < LEAST {
        let detail = format!("The password has {length} characters; it needs at least {LEAST}.");
        return Err(Problem::invalid("password", detail, fix));
    }
    if length > MOST {
        let detail = format!("The password has more than {MOST} characters.");
        return Err(Problem::invalid("password", detail, fix));
    }
    let start: String = password.chars().take(ESTIMATED).collect();
    let estimate =
        zxcvbn::zxcvbn(&start, &[email, email.split('@').next().unwrap_or(email), "fluvio", "cloud"]);
    if estimate.score() >= zxcvbn::Score::Three {
        return Ok(());
    }
    let why = estimate
        .feedback()
        .and_then(zxcvbn::feedback::Feedback::warning)
        .map(|warning| format!("The password is easy to guess. {warning}"));
    Err(Problem::invalid("password", why.unwrap_or_else(|| "The password is easy to guess.".into()), fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessable_passwords_are_refused_and_others_pass_whatever_they_are_made_of() {
        for (password, good) in [
            ("", false),
            ("x7#Kq!9", false),
            ("password", false),
            ("Password123!", false),
            ("qwertyuiop", false),
            ("aaaaaaaaaaaaaaaaaaaa", false),
            ("ada@example.com", false),
            ("fluviocloud", false),
            ("brave otter walks home", true),
            ("пять слонов едят сено", true),
            ("h8Vq2-tmzR-0pLw", true),
            ("correct-horse-9-battery-staple", true),
        ] {
            assert_eq!(check(password, "ada@example.com").is_ok(), good, "{password}");
        }
    }

    #[test]
    fn long_passwords_are_allowed_up_to_a_bound() {
        let long: String =
            (0..MOST).map(|i| char::from(b'!' + u8::try_from((i * 37 + i / 7) % 90).unwrap())).collect();
        assert!(check(&long, "ada@example.com").is_ok());
        assert!(check(&format!("{long}x"), "ada@example.com").is_err());
    }
}
