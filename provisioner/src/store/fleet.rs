//! What a provisioner among several reads and writes: what changed since its last look, and its share of the
//! work. None of it costs more when there are more clusters that nothing happens to.

use std::collections::BTreeMap;

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::write::{LEASE_SECONDS, begin};
use super::{Plan, StoreError, Wanted};
use crate::status::{State, Status};

/// A cluster as its tenant wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is wanted. `purge_due` is of the moment of the look.
    pub wanted: Wanted,
    /// From when its data may go.
    pub purge_after: Option<OffsetDateTime>,
}

/// A moment in a database's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The lowest transaction that was open.
    xid: i64,
    /// A standby that takes over begins a timeline of its own, and may count transactions from lower on than the
    /// former primary had: numbers compare within one timeline only.
    timeline: String,
}

/// What changed, and where to go on.
#[derive(Debug)]
pub struct Changes {
    /// The clusters.
    pub rows: Vec<Row>,
    /// Where the next look goes on.
    pub next: Moment,
}

/// The clusters of a region that changed since a moment; all of them without one, or when another server has taken
/// over since.
pub async fn changes(pool: &PgPool, region: &str, since: Option<&Moment>) -> Result<Changes, StoreError> {
    // Before the rows: what commits in between comes twice rather than never.
    let now = sqlx::query!(
        r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS "xid!",
                  left(pg_walfile_name(pg_current_wal_lsn()), 8) AS "timeline!""#
    )
    .fetch_one(pool)
    .await?;
    let next = Moment { xid: now.xid, timeline: now.timeline };
    let since = since.filter(|since| since.timeline == next.timeline).map_or(0, |since| since.xid);
    let rows = sqlx::query!(
        r#"SELECT id, organisation_id, domain, spus, plan, generation, paused_at IS NOT NULL AS "paused!",
                  deleted_at IS NOT NULL AS "deleted!", purge_after,
                  coalesce(purge_after <= now(), false) AS "purge_due!"
           FROM clusters WHERE runtime = 'kubernetes' AND region = $1 AND changed >= $2::bigint::text::xid8"#,
        region,
        since
    )
    .fetch_all(pool)
    .await?;
    let rows = rows.into_iter().map(|row| {
        Ok(Row {
            wanted: Wanted {
                cluster: row.id,
                tenant: row.organisation_id,
                domain: row.domain,
                spus: u8::try_from(row.spus).map_err(|_| StoreError::Row("clusters.spus"))?,
                plan: Plan::parse(&row.plan).ok_or(StoreError::Row("clusters.plan"))?,
                paused: row.paused,
                generation: row.generation,
                deleted: row.deleted,
                purge_due: row.purge_due,
            },
            purge_after: row.purge_after,
        })
    });
    Ok(Changes { rows: rows.collect::<Result<_, StoreError>>()?, next })
}

/// The clusters of a region, by id only.
pub async fn ids(pool: &PgPool, region: &str) -> Result<Vec<Uuid>, StoreError> {
    let rows =
        sqlx::query_scalar!("SELECT id FROM clusters WHERE runtime = 'kubernetes' AND region = $1", region);
    Ok(rows.fetch_all(pool).await?)
}

/// How the work of a region is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Provisioners that were seen lately, this one among them.
    pub provisioners: i64,
    /// Clusters.
    pub clusters: i64,
}

/// Says that this provisioner is there, and tells how many share the work.
pub async fn attend(pool: &PgPool, holder: Uuid, region: &str, host: &str) -> Result<Sharing, StoreError> {
    sqlx::query!(
        "INSERT INTO provisioners (holder, region, host) VALUES ($1, $2, $3)
         ON CONFLICT (holder) DO UPDATE SET region = excluded.region, host = excluded.host, seen_at = now()",
        holder,
        region,
        host
    )
    .execute(pool)
    .await?;
    sqlx::query!("DELETE FROM provisioners WHERE seen_at < now() - interval '1 day'").execute(pool).await?;
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM provisioners
                   WHERE region = $1 AND seen_at > now() - make_interval(secs => $2)) AS "provisioners!",
                  (SELECT count(*) FROM clusters WHERE runtime = 'kubernetes' AND region = $1) AS "clusters!""#,
        region,
        LEASE_SECONDS
    )
    .fetch_one(pool)
    .await?;
    Ok(Sharing { provisioners: row.provisioners, clusters: row.clusters })
}

/// Clusters of a region that nobody works on: some of them.
pub async fn free(pool: &PgPool, region: &str, most: i64) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query_scalar!(
        "SELECT c.id FROM clusters c LEFT JOIN leases l ON l.cluster_id = c.id
         WHERE c.runtime = 'kubernetes' AND c.region = $1 AND (l.cluster_id IS NULL OR l.expires_at <= now())
         LIMIT $2",
        region,
        most
    );
    Ok(rows.fetch_all(pool).await?)
}

/// What the tenant of a cluster reads that was just taken for the first time.
const BEGIN: &str = "Preparing its namespace and keys";

/// A cluster that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The lease's token.
    pub token: i64,
    /// What was recorded last.
    pub status: Status,
    /// Where the gateway finds it.
    pub backends: BTreeMap<String, String>,
}

/// Takes those of these clusters that nobody else works on.
pub async fn take(
    pool: &PgPool,
    region: &str,
    holder: Uuid,
    clusters: &[Uuid],
) -> Result<BTreeMap<Uuid, Taken>, StoreError> {
    let mut transaction = pool.begin().await?;
    // In one order, so that two provisioners that take the same ones do not wait for each other in a circle.
    let tokens = sqlx::query!(
        "INSERT INTO leases (cluster_id, holder, expires_at)
         SELECT id, $1, now() + make_interval(secs => $2) FROM clusters
         WHERE id = ANY($3) AND runtime = 'kubernetes' AND region = $4 ORDER BY id
         ON CONFLICT (cluster_id) DO UPDATE
         SET holder = excluded.holder, token = leases.token + 1, expires_at = excluded.expires_at
         WHERE leases.expires_at <= now() OR leases.holder = excluded.holder
         RETURNING cluster_id, token",
        holder,
        LEASE_SECONDS,
        clusters,
        region
    )
    .fetch_all(&mut *transaction)
    .await?;
    let ids: Vec<Uuid> = tokens.iter().map(|row| row.cluster_id).collect();
    begin(&mut transaction, &ids, BEGIN).await?;
    let rows = sqlx::query!(
        r#"SELECT s.cluster_id, s.state, s.reason, s.observed_generation, s.spus_ready, s.partitions, s.storage_bytes,
                  s.restarts, s.last_error, s.ready_at IS NOT NULL AS "ready!",
                  ARRAY(SELECT server_name FROM cluster_backends b WHERE b.cluster_id = s.cluster_id ORDER BY server_name) AS "names!",
                  ARRAY(SELECT address FROM cluster_backends b WHERE b.cluster_id = s.cluster_id ORDER BY server_name) AS "addresses!"
           FROM cluster_status s WHERE s.cluster_id = ANY($1)"#,
        &ids
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let tokens: BTreeMap<Uuid, i64> = tokens.into_iter().map(|row| (row.cluster_id, row.token)).collect();
    let taken = rows.into_iter().map(|row| {
        let status = Status {
            state: State::parse(&row.state).ok_or(StoreError::Row("cluster_status.state"))?,
            reason: row.reason,
            observed_generation: row.observed_generation,
            spus_ready: row.spus_ready,
            partitions: row.partitions,
            storage_bytes: row.storage_bytes,
            restarts: row.restarts,
            last_error: row.last_error,
            ready: row.ready,
        };
        let backends = row.names.into_iter().zip(row.addresses).collect();
        let token = tokens.get(&row.cluster_id).copied().unwrap_or_default();
        Ok((row.cluster_id, Taken { token, status, backends }))
    });
    taken.collect()
}

/// Gives up clusters: all of a holder's, or these.
pub async fn release(pool: &PgPool, holder: Uuid, clusters: Option<&[Uuid]>) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE leases SET expires_at = now() WHERE holder = $1 AND ($2::uuid[] IS NULL OR cluster_id = ANY($2))",
        holder,
        clusters
    )
    .execute(pool)
    .await?;
    if clusters.is_none() {
        sqlx::query!("DELETE FROM provisioners WHERE holder = $1", holder).execute(pool).await?;
    }
    Ok(())
}
