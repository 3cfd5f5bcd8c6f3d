//! Token buckets that all portals share.

use sqlx::PgExecutor;

use crate::edge::rates::Size;

/// A bucket after a try.
pub struct Count {
    /// The token was there.
    pub taken: bool,
    /// Tokens that are left.
    pub tokens: f64,
}

/// Refills a bucket for the time that has passed and takes `tokens` if there is at least one: one statement, so that
/// no two portals take the same token.
pub async fn take(
    executor: impl PgExecutor<'_>,
    kind: &str,
    key: &[u8],
    size: Size,
    tokens: u32,
) -> sqlx::Result<Count> {
    let row = sqlx::query!(
        r#"WITH taken AS (
             INSERT INTO rate_buckets AS b (kind, key, tokens, updated_at)
             VALUES ($1, $2, $3::float8 - $5::float8, now())
             ON CONFLICT (kind, key) DO UPDATE
               SET tokens = least($3, b.tokens + greatest(extract(epoch FROM now() - b.updated_at)::float8, 0) / $4) - $5,
                   updated_at = greatest(now(), b.updated_at)
               WHERE least($3, b.tokens + greatest(extract(epoch FROM now() - b.updated_at)::float8, 0) / $4) >= 1
             RETURNING tokens)
           SELECT (SELECT tokens FROM taken) AS taken,
                  (SELECT b.tokens + greatest(extract(epoch FROM now() - b.updated_at)::float8, 0) / $4
                   FROM rate_buckets b WHERE b.kind = $1 AND b.key = $2) AS "before""#,
        kind,
        key,
        f64::from(size.burst),
        size.period.as_secs_f64(),
        f64::from(tokens)
    )
    .fetch_one(executor)
    .await?;
    // Another portal may have taken the last token between this statement's look and its turn.
    let before = row.before.unwrap_or(0.0).min(1.0);
    Ok(Count { taken: row.taken.is_some(), tokens: row.taken.unwrap_or(before) })
}

/// Puts a token back.
pub async fn give_back(
    executor: impl PgExecutor<'_>,
    kind: &str,
    key: &[u8],
    size: Size,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE rate_buckets SET tokens = least($3, tokens + 1) WHERE kind = $1 AND key = $2",
        kind,
        key,
        f64::from(size.burst)
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Forgets buckets of a kind that are full again, and beyond `most` the fullest; how many they were.
pub async fn sweep(executor: impl PgExecutor<'_>, kind: &str, size: Size, most: i64) -> sqlx::Result<u64> {
    let forgotten = sqlx::query!(
        "DELETE FROM rate_buckets b
         WHERE b.kind = $1
           AND (b.tokens + extract(epoch FROM now() - b.updated_at)::float8 / $3 >= $2
             OR b.key IN (SELECT f.key FROM rate_buckets f WHERE f.kind = $1
                          ORDER BY f.tokens, f.updated_at DESC OFFSET $4))",
        kind,
        f64::from(size.burst),
        size.period.as_secs_f64(),
        most
    )
    .execute(executor)
    .await?;
    Ok(forgotten.rows_affected())
}
