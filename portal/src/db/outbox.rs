//! Mails of a cloud without a mail server.

use sqlx::PgExecutor;
use time::OffsetDateTime;

/// One mail.
#[derive(Debug, Clone)]
pub struct MailRow {
    /// Its id; the address of its page.
    pub id: i64,
    /// To whom.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

/// Keeps a mail.
pub async fn insert(
    executor: impl PgExecutor<'_>,
    recipient: &str,
    subject: &str,
    body: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO outbox_mails (recipient, subject, body) VALUES ($1, $2, $3)",
        recipient,
        subject,
        body
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// The newest mails.
pub async fn list(executor: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<Vec<MailRow>> {
    sqlx::query_as!(
        MailRow,
        "SELECT id, recipient, subject, body, created_at FROM outbox_mails ORDER BY id DESC LIMIT $1",
        limit
    )
    .fetch_all(executor)
    .await
}

/// One mail.
pub async fn find(executor: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<MailRow>> {
    sqlx::query_as!(
        MailRow,
        "SELECT id, recipient, subject, body, created_at FROM outbox_mails WHERE id = $1",
        id
    )
    .fetch_optional(executor)
    .await
}
