//! Certificates: requests in, certificates out, revocation.

use cluster_settings::Rule;
use sqlx::PgExecutor;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::certificates::rights::Rights;

/// One certificate of a client.
pub struct CertificateRow {
    /// Its id.
    pub id: Uuid,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// The device, say.
    pub label: String,
    /// The entry of the access list.
    pub principal: Option<Uuid>,
    /// admin or user, if there are no rules.
    pub role: Option<String>,
    /// What counts instead of a role.
    pub rules: Option<Json<Vec<Rule>>>,
    /// Who asked for it.
    pub email: Option<String>,
    /// When.
    pub created_at: OffsetDateTime,
    /// Its end.
    pub not_after: OffsetDateTime,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

impl CertificateRow {
    /// What it opens; `None` when its principal is gone.
    pub fn rights(&self) -> Option<Rights> {
        Rights::of_row(self.role.as_deref(), self.rules.as_ref().map(|rules| rules.0.clone()))
    }
}

/// The client certificates of a cluster, newest first. Those that ended of themselves a month ago are left out.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    cluster_id: Uuid,
) -> sqlx::Result<Vec<CertificateRow>> {
    sqlx::query_as!(
        CertificateRow,
        r#"SELECT c.id, c.serial, c.label, c.principal_id AS principal, e.role AS "role?",
                  e.rules AS "rules?: Json<Vec<Rule>>", u.email AS "email?", c.created_at, c.not_after, c.revoked_at
           FROM certificates c
           LEFT JOIN access_entries e ON e.principal_id = c.principal_id
           LEFT JOIN users u ON u.id = e.user_id
           WHERE c.organisation_id = $1 AND c.cluster_id = $2 AND c.kind = 'client'
             AND c.certificate_der IS NOT NULL AND c.not_after > now() - interval '30 days'
           ORDER BY c.created_at DESC LIMIT 200"#,
        organisation_id,
        cluster_id
    )
    .fetch_all(executor)
    .await
}

/// Puts a request before the signer.
pub async fn request(
    executor: impl PgExecutor<'_>,
    cluster_id: Uuid,
    principal_id: Uuid,
    label: &str,
    csr_der: &[u8],
    lifetime_seconds: i64,
) -> sqlx::Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        "INSERT INTO certificate_requests (id, cluster_id, kind, principal_id, label, csr_der, lifetime_seconds)
         VALUES ($1, $2, 'client', $3, $4, $5, $6)",
        id,
        cluster_id,
        principal_id,
        label,
        csr_der,
        lifetime_seconds
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// The signer's answer to a request so far.
pub struct Answer {
    /// pending, issued or refused.
    pub state: String,
    /// The entry of the access list.
    pub principal: Option<Uuid>,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The certificate's id.
    pub id: Option<Uuid>,
    /// Its serial number.
    pub serial: Option<Vec<u8>>,
    /// Itself.
    pub certificate_der: Option<Vec<u8>>,
    /// Its end.
    pub not_after: Option<OffsetDateTime>,
    /// The CA of the cluster's servers.
    pub server_ca_der: Option<Vec<u8>>,
}

/// The signer's answer to a request so far.
pub async fn answer(executor: impl PgExecutor<'_>, request_id: Uuid) -> sqlx::Result<Answer> {
    sqlx::query_as!(
        Answer,
        r#"SELECT r.state, r.principal_id AS principal, r.refusal, c.id AS "id?", c.serial AS "serial?", c.certificate_der,
                  c.not_after AS "not_after?", a.certificate_der AS "server_ca_der?"
           FROM certificate_requests r
           LEFT JOIN certificates c ON c.request_id = r.id
           LEFT JOIN certificate_authorities a ON a.cluster_id = r.cluster_id AND a.purpose = 'server'
           WHERE r.id = $1"#,
        request_id
    )
    .fetch_one(executor)
    .await
}

/// The CA that a cluster's clients trust, once it is made.
pub async fn server_ca(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    cluster_id: Uuid,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "SELECT a.certificate_der FROM certificate_authorities a JOIN clusters c ON c.id = a.cluster_id
         WHERE c.organisation_id = $1 AND c.id = $2 AND a.purpose = 'server'",
        organisation_id,
        cluster_id
    )
    .fetch_optional(executor)
    .await
}

/// Revokes a client certificate. `None`: there is none. Revoking twice changes nothing.
pub async fn revoke(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    cluster_id: Uuid,
    id: Uuid,
    by: Uuid,
) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "UPDATE certificates SET revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $4)
         WHERE organisation_id = $1 AND cluster_id = $2 AND id = $3 AND kind = 'client' RETURNING serial",
        organisation_id,
        cluster_id,
        id,
        by
    )
    .fetch_optional(executor)
    .await
}

/// Revokes a person's oldest living certificates of a label, so that `keep` remain; how many went.
pub async fn revoke_oldest(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    user_id: Uuid,
    label: &str,
    keep: i64,
) -> sqlx::Result<u64> {
    let revoked = sqlx::query!(
        "UPDATE certificates SET revoked_at = now(), revoked_by = $2 WHERE id IN (
           SELECT c.id FROM certificates c JOIN access_entries e ON e.principal_id = c.principal_id
           WHERE c.organisation_id = $1 AND e.user_id = $2 AND c.label = $3 AND c.kind = 'client'
             AND c.revoked_at IS NULL AND c.not_after > now()
           ORDER BY c.created_at DESC, c.id OFFSET $4)",
        organisation_id,
        user_id,
        label,
        keep
    )
    .execute(executor)
    .await?;
    Ok(revoked.rows_affected())
}

/// How many living client certificates a cluster has.
pub async fn count(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    cluster_id: Uuid,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM certificates
           WHERE organisation_id = $1 AND cluster_id = $2 AND kind = 'client' AND revoked_at IS NULL
             AND not_after > now()"#,
        organisation_id,
        cluster_id
    )
    .fetch_one(executor)
    .await
}
