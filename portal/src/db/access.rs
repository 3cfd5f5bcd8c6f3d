//! Entries of clusters' access lists.

use cluster_settings::Rule;
use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::certificates::rights::Rights;

/// The entry that a person's logins share in a role: found, or made. Two at once get the same one.
pub async fn shared(
    connection: &mut PgConnection,
    cluster_id: Uuid,
    user_id: Uuid,
    role: &str,
) -> sqlx::Result<Uuid> {
    // The entry that stops an insert is committed, so the look after it finds it, unless it was revoked in
    // between: then the next round makes a new one.
    loop {
        let found = sqlx::query_scalar!(
            "SELECT principal_id FROM access_entries
             WHERE cluster_id = $1 AND user_id = $2 AND role = $3 AND revoked_at IS NULL AND NOT own",
            cluster_id,
            user_id,
            role
        )
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(id) = found {
            return Ok(id);
        }
        let made = sqlx::query_scalar!(
            "INSERT INTO access_entries (cluster_id, user_id, role) VALUES ($1, $2, $3)
             ON CONFLICT (cluster_id, user_id, role) WHERE revoked_at IS NULL AND NOT own DO NOTHING
             RETURNING principal_id",
            cluster_id,
            user_id,
            role
        )
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(id) = made {
            return Ok(id);
        }
    }
}

/// Makes an entry with rules, for one certificate.
pub async fn own(
    executor: impl PgExecutor<'_>,
    cluster_id: Uuid,
    user_id: Uuid,
    rules: &[Rule],
) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!(
        "INSERT INTO access_entries (cluster_id, user_id, own, rules) VALUES ($1, $2, true, $3) RETURNING principal_id",
        cluster_id,
        user_id,
        Json(rules) as _
    )
    .fetch_one(executor)
    .await
}

/// The entry behind a certificate.
pub struct EntryRow {
    /// The principal.
    pub id: Uuid,
    /// admin or user, if there are no rules.
    pub role: Option<String>,
    /// What counts instead of a role.
    pub rules: Option<Json<Vec<Rule>>>,
    /// The certificate's label.
    pub label: String,
    /// When the certificate was revoked.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// Living certificates of this principal, this one counted.
    pub certificates: i64,
}

impl EntryRow {
    /// What it gives.
    pub fn rights(&self) -> Option<Rights> {
        Rights::of_row(self.role.as_deref(), self.rules.as_ref().map(|rules| rules.0.clone()))
    }
}

/// The entry behind a certificate, locked until the transaction's end.
pub async fn of_certificate(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    cluster_id: Uuid,
    certificate: Uuid,
) -> sqlx::Result<Option<EntryRow>> {
    sqlx::query_as!(
        EntryRow,
        r#"SELECT e.principal_id AS id, e.role, e.rules AS "rules: Json<Vec<Rule>>", c.label, c.revoked_at, c.not_after,
                  (SELECT count(*) FROM certificates o WHERE o.principal_id = e.principal_id AND o.revoked_at IS NULL
                   AND o.not_after > now() AND o.certificate_der IS NOT NULL) AS "certificates!"
           FROM certificates c JOIN access_entries e ON e.principal_id = c.principal_id
           WHERE c.organisation_id = $1 AND c.cluster_id = $2 AND c.id = $3 AND c.kind = 'client'
             AND e.revoked_at IS NULL
           FOR UPDATE OF e"#,
        organisation_id,
        cluster_id,
        certificate
    )
    .fetch_optional(executor)
    .await
}

/// Gives an entry other rights. From then on it is its certificates' own: a new login gets another.
pub async fn change(
    executor: impl PgExecutor<'_>,
    cluster_id: Uuid,
    principal: Uuid,
    rights: &Rights,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE access_entries SET own = true, role = $3, rules = $4 WHERE cluster_id = $1 AND principal_id = $2",
        cluster_id,
        principal,
        rights.role(),
        rights.rules().map(Json) as _
    )
    .execute(executor)
    .await?;
    Ok(())
}
