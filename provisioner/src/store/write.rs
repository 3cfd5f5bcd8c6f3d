//! The writing half. Every write about a cluster is fenced by its lease; a request for a certificate needs no
//! fence, since it changes nothing for anybody but its sender.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Lease, Request, StoreError};
use crate::status::Status;

/// Seconds that a lease lasts without being renewed.
pub(super) const LEASE_SECONDS: f64 = 30.0;

/// Takes clusters: those without a machine, and those whose lease ran out or was this holder's before.
/// Gives the tokens of the ones that were taken.
pub async fn claim(
    pool: &PgPool,
    host: &str,
    holder: Uuid,
    clusters: &[Uuid],
) -> Result<BTreeMap<Uuid, i64>, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("UPDATE clusters SET host = $1 WHERE id = ANY($2) AND host IS NULL", host, clusters)
        .execute(&mut *transaction)
        .await?;
    let taken = sqlx::query!(
        "INSERT INTO leases (cluster_id, holder, expires_at)
         SELECT id, $1, now() + make_interval(secs => $2) FROM clusters WHERE id = ANY($3) AND host = $4
         ON CONFLICT (cluster_id) DO UPDATE
         SET holder = excluded.holder, token = leases.token + 1, expires_at = excluded.expires_at
         WHERE leases.expires_at <= now() OR leases.holder = excluded.holder
         RETURNING cluster_id, token",
        holder,
        LEASE_SECONDS,
        clusters,
        host
    )
    .fetch_all(&mut *transaction)
    .await?;
    let ids: Vec<Uuid> = taken.iter().map(|row| row.cluster_id).collect();
    begin(&mut transaction, &ids, &Status::new().reason).await?;
    transaction.commit().await?;
    Ok(taken.into_iter().map(|row| (row.cluster_id, row.token)).collect())
}

/// Gives clusters their first status; those that have one keep it.
pub(super) async fn begin(
    connection: &mut PgConnection,
    clusters: &[Uuid],
    reason: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO cluster_status (cluster_id, state, reason)
         SELECT id, 'creating', $2 FROM unnest($1::uuid[]) AS t(id) ON CONFLICT (cluster_id) DO NOTHING",
        clusters,
        reason
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Renews every lease of a holder, and gives the tokens.
pub async fn renew(pool: &PgPool, holder: Uuid) -> Result<BTreeMap<Uuid, i64>, StoreError> {
    let rows = sqlx::query!(
        "UPDATE leases SET expires_at = now() + make_interval(secs => $2) WHERE holder = $1
         RETURNING cluster_id, token",
        holder,
        LEASE_SECONDS
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.cluster_id, row.token)).collect())
}

/// Puts requests for certificates; the same request twice is one.
pub async fn ask(
    pool: &PgPool,
    cluster: Uuid,
    requests: &[Request<'_>],
    lifetime_seconds: u32,
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = requests.iter().map(|request| request.id).collect();
    let kinds: Vec<String> = requests.iter().map(|request| request.kind.to_owned()).collect();
    let csrs: Vec<Vec<u8>> = requests.iter().map(|request| request.csr.to_owned()).collect();
    sqlx::query!(
        "INSERT INTO certificate_requests (id, cluster_id, kind, csr_der, lifetime_seconds)
         SELECT t.id, $1, t.kind, t.csr, $2 FROM unnest($3::uuid[], $4::text[], $5::bytea[]) AS t(id, kind, csr)
         ON CONFLICT (id) DO NOTHING",
        cluster,
        i64::from(lifetime_seconds),
        &ids,
        &kinds,
        &csrs
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Records a cluster's status.
pub async fn record_status(
    pool: &PgPool,
    lease: Lease,
    cluster: Uuid,
    status: &Status,
) -> Result<(), StoreError> {
    let written = sqlx::query!(
        "WITH held AS (SELECT cluster_id FROM leases
                       WHERE cluster_id = $1 AND holder = $2 AND token = $3 AND expires_at > now() FOR SHARE)
         INSERT INTO cluster_status AS s (cluster_id, state, reason, observed_generation, spus_ready, partitions,
                                          storage_bytes, restarts, last_error, last_error_at, ready_at)
         SELECT cluster_id, $4, $5, $6, $7, $8, $9, $10, $11, CASE WHEN $11::text IS NOT NULL THEN now() END,
                CASE WHEN $12 THEN now() END
         FROM held
         ON CONFLICT (cluster_id) DO UPDATE
         SET state = excluded.state, reason = excluded.reason, observed_generation = excluded.observed_generation,
             spus_ready = excluded.spus_ready, partitions = excluded.partitions,
             storage_bytes = excluded.storage_bytes, restarts = excluded.restarts,
             last_error_at = CASE WHEN excluded.last_error IS DISTINCT FROM s.last_error
                                  THEN excluded.last_error_at ELSE s.last_error_at END,
             last_error = excluded.last_error, ready_at = coalesce(s.ready_at, excluded.ready_at),
             updated_at = now()",
        cluster,
        lease.holder,
        lease.token,
        status.state.as_str(),
        status.reason,
        status.observed_generation,
        status.spus_ready,
        status.partitions,
        status.storage_bytes,
        status.restarts,
        status.last_error,
        status.ready
    )
    .execute(pool)
    .await?;
    fenced_unless(written.rows_affected() == 1)
}

/// Tells the gateway where the cluster's servers are: these, and no others.
pub async fn publish_backends(
    pool: &PgPool,
    lease: Lease,
    cluster: Uuid,
    backends: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let names: Vec<String> = backends.keys().cloned().collect();
    let addresses: Vec<String> = backends.values().cloned().collect();
    let held = sqlx::query_scalar!(
        r#"WITH held AS (SELECT cluster_id FROM leases
                         WHERE cluster_id = $1 AND holder = $2 AND token = $3 AND expires_at > now() FOR SHARE),
         gone AS (DELETE FROM cluster_backends b USING held
                  WHERE b.cluster_id = held.cluster_id AND NOT b.server_name = ANY($4)),
         here AS (INSERT INTO cluster_backends (cluster_id, server_name, address)
                  SELECT held.cluster_id, t.name, t.address FROM held, unnest($4::text[], $5::text[]) AS t(name, address)
                  ON CONFLICT (cluster_id, server_name) DO UPDATE SET address = excluded.address)
         SELECT count(*) AS "held!" FROM held"#,
        cluster,
        lease.holder,
        lease.token,
        &names,
        &addresses
    )
    .fetch_one(pool)
    .await?;
    fenced_unless(held == 1)
}

/// Whether the data may go: the lease is held and the time of grace is over, by the database's own clock.
pub async fn confirm_purge(pool: &PgPool, lease: Lease, cluster: Uuid) -> Result<(), StoreError> {
    let confirmed = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM clusters c JOIN leases l ON l.cluster_id = c.id
           WHERE c.id = $1 AND c.deleted_at IS NOT NULL AND c.purge_after <= now()
             AND l.holder = $2 AND l.token = $3 AND l.expires_at > now()"#,
        cluster,
        lease.holder,
        lease.token
    )
    .fetch_one(pool)
    .await?;
    fenced_unless(confirmed == 1)
}

/// Removes a cluster whose time of grace is over, with everything that hangs on its row.
pub async fn purge(pool: &PgPool, lease: Lease, cluster: Uuid) -> Result<(), StoreError> {
    let gone = sqlx::query!(
        "WITH held AS (SELECT cluster_id FROM leases
                       WHERE cluster_id = $1 AND holder = $2 AND token = $3 AND expires_at > now())
         DELETE FROM clusters c USING held
         WHERE c.id = held.cluster_id AND c.deleted_at IS NOT NULL AND c.purge_after <= now()",
        cluster,
        lease.holder,
        lease.token
    )
    .execute(pool)
    .await?;
    fenced_unless(gone.rows_affected() == 1)
}

fn fenced_unless(held: bool) -> Result<(), StoreError> {
    if held { Ok(()) } else { Err(StoreError::Fenced) }
}
