//! First answers to POSTs with an `Idempotency-Key`.

use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, PgPool};
use uuid::Uuid;

/// A request that made nothing in so long died with its portal or its database, and the key may be tried again.
/// Should it live after all, only one of the two makes something: see [`note_made`].
const ABANDONED_SECONDS: f64 = 10.0;
/// Answers are kept for a day.
const KEPT_SECONDS: f64 = 24.0 * 3600.0;

/// What is known of a key.
pub enum Claim {
    /// It is new: do the work.
    Ours,
    /// The first answer.
    Answered {
        /// The request's hash.
        request_hash: Vec<u8>,
        /// The status.
        status: i32,
        /// The body.
        body: Value,
    },
    /// The first made something, and is not answered yet or never will be.
    Made {
        /// The request's hash.
        request_hash: Vec<u8>,
        /// What it made.
        made: Uuid,
    },
    /// The first is under way.
    UnderWay,
}

/// Claims a key for a request.
pub async fn claim(pool: &PgPool, user_id: Uuid, key: &str, request_hash: &[u8]) -> sqlx::Result<Claim> {
    let claimed = sqlx::query!(
        "INSERT INTO idempotency_keys AS k (user_id, key, request_hash) VALUES ($1, $2, $3)
         ON CONFLICT (user_id, key) DO UPDATE SET request_hash = $3, created_at = now(), status = NULL, body = NULL,
             made = NULL
           WHERE (k.status IS NULL AND k.made IS NULL AND k.created_at < now() - make_interval(secs => $4))
              OR k.created_at < now() - make_interval(secs => $5)",
        user_id,
        key,
        request_hash,
        ABANDONED_SECONDS,
        KEPT_SECONDS
    )
    .execute(pool)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(Claim::Ours);
    }
    let row = sqlx::query!(
        "SELECT request_hash, status, body, made FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        user_id,
        key
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(Claim::UnderWay) };
    Ok(match (row.status, row.made) {
        (Some(status), _) => {
            let body = row.body.unwrap_or(Value::Null);
            Claim::Answered { request_hash: row.request_hash, status, body }
        }
        (None, Some(made)) => Claim::Made { request_hash: row.request_hash, made },
        (None, None) => Claim::UnderWay,
    })
}

/// Says what a request makes, in the transaction that makes it. `false`: another request with the key has made
/// something, and this one must not.
pub async fn note_made(
    connection: &mut PgConnection,
    user_id: Uuid,
    key: &str,
    made: Uuid,
) -> sqlx::Result<bool> {
    let noted = sqlx::query!(
        "UPDATE idempotency_keys SET made = $3 WHERE user_id = $1 AND key = $2 AND made IS NULL AND status IS NULL",
        user_id,
        key,
        made
    )
    .execute(connection)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Keeps the first answer.
pub async fn keep(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    key: &str,
    status: i32,
    body: Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE idempotency_keys SET status = $3, body = $4 WHERE user_id = $1 AND key = $2",
        user_id,
        key,
        status,
        body
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Forgets a key whose request came to nothing, so that it may be tried again. One that made something is not
/// forgotten, whatever became of its answer.
pub async fn forget(executor: impl PgExecutor<'_>, user_id: Uuid, key: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM idempotency_keys WHERE user_id = $1 AND key = $2 AND made IS NULL",
        user_id,
        key
    )
    .execute(executor)
    .await?;
    Ok(())
}
