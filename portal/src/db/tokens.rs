//! API tokens.

use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::db::sessions::PersonRow;

/// One token, without its secret.
pub struct TokenRow {
    /// Its id.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it ends.
    pub expires_at: OffsetDateTime,
    /// When it was used last, to the minute.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A new token.
pub async fn insert(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    user_id: Uuid,
    name: &str,
    secret_hash: &[u8],
    scopes: &[String],
    days: i32,
) -> sqlx::Result<TokenRow> {
    sqlx::query_as!(
        TokenRow,
        "INSERT INTO api_tokens (organisation_id, user_id, name, secret_hash, scopes, expires_at)
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(days => $6))
         RETURNING id, name, scopes, created_at, expires_at, last_used_at",
        organisation_id,
        user_id,
        name,
        secret_hash,
        scopes,
        days
    )
    .fetch_one(executor)
    .await
}

/// The living tokens of a person in an organisation.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    user_id: Uuid,
) -> sqlx::Result<Vec<TokenRow>> {
    sqlx::query_as!(
        TokenRow,
        "SELECT id, name, scopes, created_at, expires_at, last_used_at FROM api_tokens
         WHERE organisation_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now()
         ORDER BY created_at DESC LIMIT 200",
        organisation_id,
        user_id
    )
    .fetch_all(executor)
    .await
}

/// How many living tokens a person has.
pub async fn count(executor: impl PgExecutor<'_>, organisation_id: Uuid, user_id: Uuid) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM api_tokens
           WHERE organisation_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now()"#,
        organisation_id,
        user_id
    )
    .fetch_one(executor)
    .await
}

/// Ends a token; whether there was one.
pub async fn revoke(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    user_id: Uuid,
    id: Uuid,
) -> sqlx::Result<bool> {
    let revoked = sqlx::query!(
        "UPDATE api_tokens SET revoked_at = now()
         WHERE organisation_id = $1 AND user_id = $2 AND id = $3 AND revoked_at IS NULL",
        organisation_id,
        user_id,
        id
    )
    .execute(executor)
    .await?;
    Ok(revoked.rows_affected() > 0)
}

/// Who holds a token, and what it may do.
pub struct Holder {
    /// The person.
    pub person: PersonRow,
    /// What the token may do.
    pub scopes: Vec<String>,
}

/// Who holds this token.
pub async fn holder(
    executor: impl PgExecutor<'_> + Copy,
    secret_hash: &[u8],
) -> sqlx::Result<Option<Holder>> {
    let Some(row) = sqlx::query!(
        r#"SELECT t.id AS credential_id, t.scopes, u.id AS user_id, u.email, u.operator, o.id AS organisation_id,
                  o.name AS organisation_name, m.role, o.max_clusters,
                  (t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute') AS "stale!"
           FROM api_tokens t JOIN users u ON u.id = t.user_id
           JOIN memberships m ON m.user_id = u.id AND m.organisation_id = t.organisation_id
           JOIN organisations o ON o.id = t.organisation_id
           WHERE t.secret_hash = $1 AND t.revoked_at IS NULL AND t.expires_at > now()
             AND u.disabled_at IS NULL AND u.verified_at IS NOT NULL"#,
        secret_hash
    )
    .fetch_optional(executor)
    .await?
    else {
        return Ok(None);
    };
    if row.stale {
        sqlx::query!("UPDATE api_tokens SET last_used_at = now() WHERE id = $1", row.credential_id)
            .execute(executor)
            .await?;
    }
    let person = PersonRow {
        credential_id: row.credential_id,
        user_id: row.user_id,
        email: row.email,
        operator: row.operator,
        organisation_id: row.organisation_id,
        organisation_name: row.organisation_name,
        role: row.role,
        max_clusters: row.max_clusters,
    };
    Ok(Some(Holder { person, scopes: row.scopes }))
}
