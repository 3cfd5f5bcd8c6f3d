//! Sign-ins.

use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Seconds without a request after which a sign-in ends.
const IDLE_SECONDS: f64 = 7.0 * 24.0 * 3600.0;
/// Seconds after which a sign-in ends whatever happens.
const ABSOLUTE_SECONDS: f64 = 30.0 * 24.0 * 3600.0;

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A browser with a cookie.
    Browser,
    /// The command line, with access and refresh tokens.
    Cli,
    /// An older client with one opaque token.
    Legacy,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Browser => "browser",
            Kind::Cli => "cli",
            Kind::Legacy => "legacy",
        }
    }
}

/// A person with the organisation that he or she works for, as a credential names them.
pub struct PersonRow {
    /// The sign-in or API token.
    pub credential_id: Uuid,
    /// The person.
    pub user_id: Uuid,
    /// The person's address.
    pub email: String,
    /// Runs the cloud.
    pub operator: bool,
    /// The organisation.
    pub organisation_id: Uuid,
    /// Its name.
    pub organisation_name: String,
    /// The person's role in it.
    pub role: String,
    /// Its limit.
    pub max_clusters: i32,
}

/// One sign-in, for the account page.
pub struct SessionRow {
    /// Its id.
    pub id: Uuid,
    /// browser, cli or legacy.
    pub kind: String,
    /// From where.
    pub address: String,
    /// By which program.
    pub agent: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// When last used.
    pub last_seen_at: OffsetDateTime,
}

/// A new sign-in. `secret_hash` is the cookie's or the opaque token's.
pub async fn insert(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    kind: Kind,
    secret_hash: Option<&[u8]>,
    address: &str,
    agent: &str,
) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        "INSERT INTO sessions (user_id, kind, secret_hash, address, agent, expires_at)
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6)) RETURNING id",
        user_id,
        kind.as_str(),
        secret_hash,
        address,
        agent,
        ABSOLUTE_SECONDS
    )
    .fetch_one(executor)
    .await
}

/// Who holds this cookie (or, for an older client, this token).
pub async fn person_by_secret(
    executor: impl PgExecutor<'_>,
    kind: Kind,
    secret_hash: &[u8],
) -> sqlx::Result<Option<PersonRow>> {
    sqlx::query_as!(
        PersonRow,
        r#"SELECT s.id AS credential_id, u.id AS user_id, u.email, u.operator, o.id AS organisation_id,
                  o.name AS organisation_name, m.role, o.max_clusters
           FROM sessions s JOIN users u ON u.id = s.user_id
           JOIN memberships m ON m.user_id = u.id JOIN organisations o ON o.id = m.organisation_id
           WHERE s.secret_hash = $1 AND s.kind = $2 AND s.ended_at IS NULL AND s.expires_at > now()
             AND s.last_seen_at > now() - make_interval(secs => $3)
             AND u.disabled_at IS NULL AND u.verified_at IS NOT NULL
           ORDER BY m.created_at LIMIT 1"#,
        secret_hash,
        kind.as_str(),
        IDLE_SECONDS
    )
    .fetch_optional(executor)
    .await
}

/// Who stands behind an access token, while its sign-in lives.
pub async fn person_by_id(
    executor: impl PgExecutor<'_>,
    session_id: Uuid,
) -> sqlx::Result<Option<PersonRow>> {
    sqlx::query_as!(
        PersonRow,
        r#"SELECT s.id AS credential_id, u.id AS user_id, u.email, u.operator, o.id AS organisation_id,
                  o.name AS organisation_name, m.role, o.max_clusters
           FROM sessions s JOIN users u ON u.id = s.user_id
           JOIN memberships m ON m.user_id = u.id JOIN organisations o ON o.id = m.organisation_id
           WHERE s.id = $1 AND s.kind = 'cli' AND s.ended_at IS NULL AND s.expires_at > now()
             AND s.last_seen_at > now() - make_interval(secs => $2)
             AND u.disabled_at IS NULL AND u.verified_at IS NOT NULL
           ORDER BY m.created_at LIMIT 1"#,
        session_id,
        IDLE_SECONDS
    )
    .fetch_optional(executor)
    .await
}

/// Notes that a sign-in is in use, once a minute at most.
pub async fn touch(executor: impl PgExecutor<'_>, session_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE sessions SET last_seen_at = now()
         WHERE id = $1 AND last_seen_at < now() - interval '1 minute'",
        session_id
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Whether this person signed in from this address in the last month: then a stranger's guesses elsewhere do
/// not keep the person out.
pub async fn knows_address(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    address: &str,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM sessions WHERE user_id = $1 AND address = $2
                            AND created_at > now() - interval '30 days') AS "known!""#,
        user_id,
        address
    )
    .fetch_one(executor)
    .await
}

/// The living sign-ins of a person.
pub async fn list(executor: impl PgExecutor<'_>, user_id: Uuid) -> sqlx::Result<Vec<SessionRow>> {
    sqlx::query_as!(
        SessionRow,
        "SELECT id, kind, address, agent, created_at, last_seen_at FROM sessions
         WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
           AND last_seen_at > now() - make_interval(secs => $2)
         ORDER BY last_seen_at DESC LIMIT 100",
        user_id,
        IDLE_SECONDS
    )
    .fetch_all(executor)
    .await
}

/// Ends one sign-in of a person; whether there was one.
pub async fn end(executor: impl PgExecutor<'_>, user_id: Uuid, session_id: Uuid) -> sqlx::Result<bool> {
    let ended = sqlx::query!(
        "UPDATE sessions SET ended_at = now() WHERE id = $2 AND user_id = $1 AND ended_at IS NULL",
        user_id,
        session_id
    )
    .execute(executor)
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// Ends all sign-ins of a person but one.
pub async fn end_others(
    executor: impl PgExecutor<'_>,
    user_id: Uuid,
    but: Option<Uuid>,
) -> sqlx::Result<u64> {
    let ended = sqlx::query!(
        "UPDATE sessions SET ended_at = now() WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND ended_at IS NULL",
        user_id,
        but
    )
    .execute(executor)
    .await?;
    Ok(ended.rows_affected())
}
