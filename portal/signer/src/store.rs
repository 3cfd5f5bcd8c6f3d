//! The rows. The order is the promise: first the certificate's row, committed; then the signature; then the
//! release of the signed bytes together with the answer. A crash between any two steps leaves a request that
//! is still pending, and the next pass goes on with the row it finds.

use sqlx::PgPool;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::authority::{self, Kept};
use crate::issue::Terms;
use crate::policy::{BACKDATE, Grant, Kind, Request};
use crate::seal::{Owner, Sealer};

/// Why a step on the rows failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away or refuses: the next pass tries again.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A CA could not be made or is not there.
    #[error(transparent)]
    Authority(#[from] authority::AuthorityError),
    /// A row says what the schema does not allow.
    #[error("a row is not what the schema promises: {0}")]
    Row(&'static str),
}

/// How the release of a certificate ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Release {
    /// It is out.
    Issued,
    /// Another signer answered, or what it was granted on is gone: look at the request again.
    Overtaken,
}

/// Where a pass stands in the queue.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// When the last request was made.
    pub at: OffsetDateTime,
    /// Its id, for requests of the same moment.
    pub id: Uuid,
}

/// The next pending requests in the order of their arrival.
pub async fn pending(pool: &PgPool, after: Position, limit: i64) -> Result<Vec<Position>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, requested_at FROM certificate_requests
           WHERE state = 'pending' AND (requested_at, id) > ($1, $2)
           ORDER BY requested_at, id LIMIT $3"#,
        after.at,
        after.id,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| Position { at: row.requested_at, id: row.id }).collect())
}

/// A request with all that the policy asks for; `None` when it is answered, or another signer has it in hand.
///
/// The lock ends with this statement: it keeps two signers from doing the same work at the same time, it is
/// the release that decides who answers.
pub async fn read(pool: &PgPool, id: Uuid) -> Result<Option<Request>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT r.kind, r.requested_by::text AS "requested_by!", r.principal_id, r.csr_der,
                  r.lifetime_seconds, r.requested_at, r.cluster_id, now() AS "now!",
                  c.organisation_id, c.domain, c.deleted_at IS NOT NULL AS "deleted!",
                  EXISTS (SELECT 1 FROM access_entries a WHERE a.principal_id = r.principal_id
                          AND a.cluster_id = r.cluster_id AND a.revoked_at IS NULL) AS "principal_live!"
           FROM certificate_requests r JOIN clusters c ON c.id = r.cluster_id
           WHERE r.id = $1 AND r.state = 'pending' FOR UPDATE OF r SKIP LOCKED"#,
        id
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Request {
        id,
        kind: Kind::parse(&row.kind).ok_or(StoreError::Row("certificate_requests.kind"))?,
        requested_by: row.requested_by,
        principal: row.principal_id,
        principal_live: row.principal_live,
        tenant: row.organisation_id,
        cluster: row.cluster_id,
        domain: row.domain,
        cluster_deleted: row.deleted,
        csr_der: row.csr_der,
        lifetime: Duration::seconds(row.lifetime_seconds),
        requested_at: row.requested_at,
        now: row.now,
    }))
}

/// The CA that signs this request. The first request of a cluster makes all of its CAs, so that a profile
/// can be shown, and the cluster told its client CA, before the first client comes.
pub async fn authority(pool: &PgPool, sealer: &Sealer, request: &Request) -> Result<Kept, StoreError> {
    if let Some(kept) = find_authority(pool, request).await? {
        return Ok(kept);
    }
    let mut transaction = pool.begin().await?;
    for purpose in Kind::ALL {
        let owner = Owner { tenant: request.tenant, cluster: request.cluster, purpose };
        let made = authority::make(sealer, &owner, &request.domain, request.now)?;
        // Two signers may come here together; whose row is first stays, and both then use that one.
        sqlx::query!(
            "INSERT INTO certificate_authorities (cluster_id, purpose, certificate_der, sealed_key, not_after)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (cluster_id, purpose) DO NOTHING",
            request.cluster,
            purpose.as_str(),
            made.certificate_der,
            made.sealed_key,
            made.not_after
        )
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    find_authority(pool, request).await?.ok_or(StoreError::Row("certificate_authorities"))
}

async fn find_authority(pool: &PgPool, request: &Request) -> Result<Option<Kept>, StoreError> {
    let kept = sqlx::query_as!(
        Kept,
        "SELECT certificate_der, sealed_key, not_after FROM certificate_authorities
         WHERE cluster_id = $1 AND purpose = $2",
        request.cluster,
        request.kind.as_str()
    )
    .fetch_optional(pool)
    .await?;
    Ok(kept)
}

/// Writes the certificate's row, or finds the one that an interrupted attempt left, and gives its terms.
pub async fn record(
    pool: &PgPool,
    request: &Request,
    grant: &Grant,
    ca_end: OffsetDateTime,
) -> Result<Terms, StoreError> {
    let now = authority::whole_seconds(request.now);
    let not_after = (now + request.lifetime).min(ca_end);
    sqlx::query!(
        "INSERT INTO certificates (request_id, organisation_id, cluster_id, kind, principal_id, label, serial,
                                   public_key_hash, not_before, not_after)
         SELECT id, $2, cluster_id, kind, principal_id, label, $3, sha256($4), $5, $6
         FROM certificate_requests WHERE id = $1
         ON CONFLICT (request_id) DO NOTHING",
        request.id,
        request.tenant,
        authority::serial()?,
        grant.key.spki,
        now - BACKDATE,
        not_after
    )
    .execute(pool)
    .await?;
    let terms = sqlx::query_as!(
        Terms,
        "SELECT serial, not_before, not_after FROM certificates WHERE request_id = $1",
        request.id
    );
    Ok(terms.fetch_one(pool).await?)
}

/// Releases a signed certificate and answers the request, both or neither.
///
/// What was checked before is checked once more in this transaction: a principal that was revoked while the
/// signature was made gets nothing.
pub async fn release(pool: &PgPool, request: &Request, der: &[u8]) -> Result<Release, StoreError> {
    let mut transaction = pool.begin().await?;
    let answered = sqlx::query!(
        "UPDATE certificate_requests r SET state = 'issued' FROM clusters c
         WHERE r.id = $1 AND r.state = 'pending' AND c.id = r.cluster_id AND c.deleted_at IS NULL
           AND (r.principal_id IS NULL OR EXISTS (SELECT 1 FROM access_entries a
                WHERE a.principal_id = r.principal_id AND a.revoked_at IS NULL))",
        request.id
    )
    .execute(&mut *transaction)
    .await?;
    let signed = sqlx::query!(
        "UPDATE certificates SET certificate_der = $2
         WHERE request_id = $1 AND certificate_der IS NULL AND revoked_at IS NULL",
        request.id,
        der
    )
    .execute(&mut *transaction)
    .await?;
    if answered.rows_affected() != 1 || signed.rows_affected() != 1 {
        return Ok(Release::Overtaken);
    }
    transaction.commit().await?;
    Ok(Release::Issued)
}

/// Answers a request with a refusal.
pub async fn refuse(pool: &PgPool, id: Uuid, text: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE certificate_requests SET state = 'refused', refusal = $2 WHERE id = $1 AND state = 'pending'",
        id,
        text
    )
    .execute(pool)
    .await?;
    Ok(())
}
