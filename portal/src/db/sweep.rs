//! Rows that nobody needs any more. What was done stays in the audit log.

use sqlx::PgPool;

/// Deletes them; how many they were.
///
/// Answers kept for retries go after a day, addresses that were never verified after a week (unless a link to
/// one still works), sign-ins a month after their end, and their refresh tokens with them, mails of the outbox after a
/// week.
pub async fn all(pool: &PgPool) -> sqlx::Result<u64> {
    let answers = sqlx::query!("DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day'")
        .execute(pool);
    let mut rows = answers.await?.rows_affected();
    let users = sqlx::query!(
        "DELETE FROM users u WHERE verified_at IS NULL AND created_at < now() - interval '7 days'
           AND NOT EXISTS (SELECT FROM email_links l WHERE l.user_id = u.id AND l.expires_at > now())"
    );
    rows += users.execute(pool).await?.rows_affected();
    let links = sqlx::query!("DELETE FROM email_links WHERE expires_at < now() - interval '30 days'");
    rows += links.execute(pool).await?.rows_affected();
    let sessions = sqlx::query!(
        "DELETE FROM sessions WHERE least(ended_at, expires_at, last_seen_at + interval '7 days')
           < now() - interval '30 days'"
    );
    rows += sessions.execute(pool).await?.rows_affected();
    let mails = sqlx::query!(
        "DELETE FROM outbox_mails WHERE created_at < now() - interval '7 days'
           OR id < (SELECT id FROM outbox_mails ORDER BY id DESC OFFSET 9999 LIMIT 1)"
    );
    rows += mails.execute(pool).await?.rows_affected();
    Ok(rows)
}
