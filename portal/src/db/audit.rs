//! What happened: one row for each change, written in the change's own transaction.

use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

/// Who did it, by what credential, from where.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The organisation it concerns.
    pub organisation_id: Option<Uuid>,
    /// The person.
    pub user_id: Option<Uuid>,
    /// `session:<id>`, `token:<id>`, `link` or `none`.
    pub credential: String,
    /// The client's address.
    pub address: String,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was not allowed.
    Refused,
}

/// Writes one row.
pub async fn record(
    executor: impl PgExecutor<'_>,
    actor: &Actor,
    action: &str,
    object: &str,
    outcome: Outcome,
    detail: Value,
) -> sqlx::Result<()> {
    let outcome = match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
    };
    sqlx::query!(
        "INSERT INTO audit_events (organisation_id, user_id, credential, address, action, object, outcome, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        actor.organisation_id,
        actor.user_id,
        actor.credential,
        actor.address,
        action,
        object,
        outcome,
        detail
    )
    .execute(executor)
    .await?;
    Ok(())
}
