//! Rotating refresh tokens.

use sqlx::PgExecutor;
use uuid::Uuid;

/// A new token of a sign-in.
pub async fn insert(executor: impl PgExecutor<'_>, session_id: Uuid, secret_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO refresh_tokens (secret_hash, session_id) VALUES ($1, $2)",
        secret_hash,
        session_id
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Uses a token: the sign-in it belongs to, or `None` if it is unknown or was used before.
pub async fn use_once(executor: impl PgExecutor<'_>, secret_hash: &[u8]) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "UPDATE refresh_tokens SET used_at = now() WHERE secret_hash = $1 AND used_at IS NULL
         RETURNING session_id",
        secret_hash
    )
    .fetch_optional(executor)
    .await
}

/// A sign-in that was ended because its used token came again.
pub struct Reused {
    /// The sign-in.
    pub session_id: Uuid,
    /// Whose it was.
    pub user_id: Uuid,
}

/// Ends the sign-in of a token that was used before: somebody has a copy.
pub async fn end_family(executor: impl PgExecutor<'_>, secret_hash: &[u8]) -> sqlx::Result<Option<Reused>> {
    sqlx::query_as!(
        Reused,
        "UPDATE sessions s SET ended_at = now() FROM refresh_tokens t
         WHERE t.secret_hash = $1 AND t.session_id = s.id AND s.ended_at IS NULL
         RETURNING s.id AS session_id, s.user_id",
        secret_hash
    )
    .fetch_optional(executor)
    .await
}

/// The sign-in of a token, used or not.
pub async fn session_of(executor: impl PgExecutor<'_>, secret_hash: &[u8]) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!("SELECT session_id FROM refresh_tokens WHERE secret_hash = $1", secret_hash)
        .fetch_optional(executor)
        .await
}
