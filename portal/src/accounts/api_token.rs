//! API tokens: `flvc_`, 160 random bits, and a check sum, so that a scanner knows a leaked one without asking us.

use sha2::{Digest as _, Sha256};

use crate::db::audit::{self, Actor, Outcome};
use crate::db::tokens::{self, TokenRow};
use crate::edge::once::{self, Once};
use crate::edge::secret;
use crate::problem::Problem;
use sqlx::PgPool;
use uuid::Uuid;

/// How an API token begins.
pub const PREFIX: &str = "flvc_";
/// Days that a token lives when nothing is said.
pub const DEFAULT_DAYS: i32 = 90;
/// Days that a token lives at most.
const MOST_DAYS: i32 = 366;
/// Living tokens of one person.
const MOST_TOKENS: i64 = 50;
/// What a token may be for: looking, or looking and changing.
pub const SCOPES: [&str; 2] = ["read", "write"];

/// A new token.
pub fn make() -> String {
    let body = hex::encode(rand::random::<[u8; 20]>());
    let check = check_sum(&body);
    format!("{PREFIX}{body}{check}")
}

/// Whether the text could be a token: tells typing errors without asking the database.
pub fn is_well_formed(token: &str) -> bool {
    token
        .strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == 46 && rest.is_ascii() && check_sum(&rest[..40]) == rest[40..])
}

fn check_sum(body: &str) -> String {
    hex::encode(&Sha256::digest(body.as_bytes())[..3])
}

/// What a new token is to be.
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long it lives.
    pub days: i32,
    /// What it may do.
    pub scopes: Vec<String>,
}

/// Makes a token; the text is known only here and now.
pub async fn create(
    pool: &PgPool,
    organisation_id: Uuid,
    user_id: Uuid,
    actor: &Actor,
    wanted: Wanted<'_>,
    once: &Once,
) -> Result<(TokenRow, String), Problem> {
    if let Once::Again(_) = once {
        return Err(once::shown_once());
    }
    let name = wanted.name.trim();
    if name.is_empty() || name.chars().count() > 80 || name.chars().any(char::is_control) {
        let detail = "The token's name is empty, longer than 80 characters, or not printable.";
        return Err(Problem::invalid("name", detail, "Name it after what will use it, such as deploy."));
    }
    if !(1..=MOST_DAYS).contains(&wanted.days) {
        let detail = format!("A token lives 1 to {MOST_DAYS} days.");
        return Err(Problem::invalid("expires_in_days", detail, "Give a number of days in that range."));
    }
    if wanted.scopes.is_empty() || wanted.scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(Problem::invalid("scopes", "A scope is read or write.", "Give one of them or both."));
    }
    let mut tx = pool.begin().await?;
    if tokens::count(&mut *tx, organisation_id, user_id).await? >= MOST_TOKENS {
        let detail = format!("You have {MOST_TOKENS} living tokens, the most one person may have.");
        return Err(Problem::conflict(detail, "Revoke one that is no longer used."));
    }
    let token = make();
    let hash = secret::hash(&token);
    let row =
        tokens::insert(&mut *tx, organisation_id, user_id, name, &hash, &wanted.scopes, wanted.days).await?;
    once.note_made(&mut tx, row.id).await?;
    let detail = serde_json::json!({ "name": name, "scopes": wanted.scopes });
    audit::record(&mut *tx, actor, "token.create", &row.id.to_string(), Outcome::Done, detail).await?;
    tx.commit().await?;
    Ok((row, token))
}

/// Ends a token.
pub async fn revoke(
    pool: &PgPool,
    organisation_id: Uuid,
    user_id: Uuid,
    actor: &Actor,
    id: Uuid,
) -> Result<(), Problem> {
    let mut tx = pool.begin().await?;
    if !tokens::revoke(&mut *tx, organisation_id, user_id, id).await? {
        return Err(Problem::Missing("token"));
    }
    audit::record(&mut *tx, actor, "token.revoke", &id.to_string(), Outcome::Done, serde_json::json!({}))
        .await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_form_and_a_typing_error_is_not_one() {
        let token = make();
        assert!(token.starts_with(PREFIX) && is_well_formed(&token), "{token}");
        assert_ne!(token, make());
        let mut wrong = token.clone().into_bytes();
        wrong[10] = if wrong[10] == b'0' { b'1' } else { b'0' };
        for bad in [
            String::from_utf8(wrong).unwrap(),
            token[..50].to_owned(),
            format!("{token}0"),
            "flvc_".into(),
            format!("flvc_{}", "é".repeat(23)),
        ] {
            assert!(!is_well_formed(&bad), "{bad}");
        }
    }
}
