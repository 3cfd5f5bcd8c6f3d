//! Links sent by mail.

use sqlx::PgExecutor;
use uuid::Uuid;

/// A new link that proves an address. `dead`: the address has an account already, so the link opens nothing; the
/// row is written all the same, so that both cases take the same time.
pub async fn insert(
    executor: impl PgExecutor<'_>,
    secret_hash: &[u8],
    user_id: Uuid,
    password_hash: &str,
    seconds: i32,
    dead: bool,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO email_links (secret_hash, user_id, password_hash, purpose, expires_at, used_at)
         VALUES ($1, $2, $3, 'verify', now() + make_interval(secs => $4), CASE WHEN $5 THEN now() END)",
        secret_hash,
        user_id,
        password_hash,
        f64::from(seconds),
        dead
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Whether the link would still work.
pub async fn is_good(executor: impl PgExecutor<'_>, secret_hash: &[u8]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM email_links WHERE secret_hash = $1 AND used_at IS NULL AND expires_at > now())
             AS "good!""#,
        secret_hash
    )
    .fetch_one(executor)
    .await
}

/// What a link carries.
pub struct Used {
    /// Whose address it proves.
    pub user_id: Uuid,
    /// The password chosen when it was asked for.
    pub password_hash: String,
}

/// Uses the link: once, and not after its end.
pub async fn use_once(executor: impl PgExecutor<'_>, secret_hash: &[u8]) -> sqlx::Result<Option<Used>> {
    sqlx::query_as!(
        Used,
        "UPDATE email_links SET used_at = now()
         WHERE secret_hash = $1 AND used_at IS NULL AND expires_at > now() RETURNING user_id, password_hash",
        secret_hash
    )
    .fetch_optional(executor)
    .await
}

/// Ends all other links of a person.
pub async fn end_all(executor: impl PgExecutor<'_>, user_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!("UPDATE email_links SET used_at = now() WHERE user_id = $1 AND used_at IS NULL", user_id)
        .execute(executor)
        .await?;
    Ok(())
}
