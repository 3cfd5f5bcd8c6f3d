//! Stands in for the signer: answers every pending request.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, SanType,
};
use sqlx::{PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

/// Answers until its task is ended.
pub async fn answer_for_ever(pool: PgPool) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca_der = ca.self_signed(&ca_key).unwrap().der().to_vec();
    let issuer = Issuer::new(ca, ca_key);
    loop {
        if let Ok(rows) = pending(&pool).await {
            for row in rows {
                // The database may be stopped by the test.
                let _ = answer(&pool, &issuer, &ca_der, row).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Pending {
    id: Uuid,
    cluster: Uuid,
    organisation: Uuid,
    domain: String,
    csr: Vec<u8>,
    lifetime: i64,
}

async fn pending(pool: &PgPool) -> Result<Vec<Pending>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT r.id, r.cluster_id, c.organisation_id, c.domain, r.csr_der, r.lifetime_seconds
         FROM certificate_requests r JOIN clusters c ON c.id = r.cluster_id WHERE r.state = 'pending'",
    );
    let read = |row: sqlx::postgres::PgRow| Pending {
        id: row.get(0),
        cluster: row.get(1),
        organisation: row.get(2),
        domain: row.get(3),
        csr: row.get(4),
        lifetime: row.get(5),
    };
    Ok(rows.fetch_all(pool).await?.into_iter().map(read).collect())
}

async fn answer(
    pool: &PgPool,
    issuer: &Issuer<'_, KeyPair>,
    ca_der: &[u8],
    pending: Pending,
) -> Result<(), sqlx::Error> {
    let mut csr = CertificateSigningRequestParams::from_der(&pending.csr.into()).unwrap();
    let not_before = OffsetDateTime::now_utc();
    let not_after = not_before + time::Duration::seconds(pending.lifetime);
    csr.params.subject_alt_names = vec![SanType::DnsName(pending.domain.try_into().unwrap())];
    (csr.params.not_before, csr.params.not_after) = (not_before, not_after);
    let der = csr.signed_by(issuer).unwrap().der().to_vec();
    let mut transaction = pool.begin().await?;
    for purpose in ["server", "client", "internal"] {
        sqlx::query(
            "INSERT INTO certificate_authorities (cluster_id, purpose, certificate_der, sealed_key, not_after)
             VALUES ($1, $2, $3, '', now()) ON CONFLICT DO NOTHING",
        )
        .bind(pending.cluster)
        .bind(purpose)
        .bind(ca_der)
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query(
        "INSERT INTO certificates (request_id, organisation_id, cluster_id, kind, serial, public_key_hash,
                                   certificate_der, not_before, not_after)
         VALUES ($1, $2, $3, 'server', $4, sha256(''), $5, $6, $7)",
    )
    .bind(pending.id)
    .bind(pending.organisation)
    .bind(pending.cluster)
    .bind(pending.id.as_bytes().to_vec())
    .bind(der)
    .bind(not_before)
    .bind(not_after)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("UPDATE certificate_requests SET state = 'issued' WHERE id = $1")
        .bind(pending.id)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
