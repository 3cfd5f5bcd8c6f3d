//! Clusters: what is wanted, beside what is.

use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clusters::plans::Plan;
use crate::clusters::principal_limits::PrincipalLimits;

/// A cluster as its tenant sees it.
#[derive(Debug, Clone)]
pub struct ClusterRow {
    /// Its id.
    pub id: Uuid,
    /// The tenant's name for it.
    pub name: String,
    /// The server's name for it.
    pub label: String,
    /// `<label>.<base domain>`.
    pub domain: String,
    /// process or kubernetes.
    pub runtime: String,
    /// Where.
    pub region: String,
    /// host:port of the region's gateways; empty while nobody registered the region.
    pub endpoint: String,
    /// The machine, once one took it.
    pub host: Option<String>,
    /// small, medium or large.
    pub plan: String,
    /// SPUs wanted.
    pub spus: i32,
    /// disk or memory.
    pub durability: String,
    /// Limit.
    pub max_storage_bytes: i64,
    /// Limit.
    pub max_partitions: i32,
    /// Limit.
    pub max_connections: i32,
    /// Limit.
    pub max_message_bytes: i32,
    /// Limit of all clients, on each server; NULL is none.
    pub rate_bytes_in: Option<i64>,
    /// Limit of all clients.
    pub rate_bytes_out: Option<i64>,
    /// Limit of all clients.
    pub rate_requests: Option<i32>,
    /// Limit of each principal.
    pub principal_bytes_in: Option<i64>,
    /// Limit of each principal.
    pub principal_bytes_out: Option<i64>,
    /// Limit of each principal.
    pub principal_requests: Option<i32>,
    /// Limit of each principal.
    pub principal_connections: Option<i32>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// Since when its servers shall rest.
    pub paused_at: Option<OffsetDateTime>,
    /// When its deletion was asked for.
    pub deleted_at: Option<OffsetDateTime>,
    /// Until then it can be had back.
    pub purge_after: Option<OffsetDateTime>,
    /// What the provisioner saw last.
    pub state: Option<String>,
    /// What is being done, or what is wrong.
    pub reason: Option<String>,
    /// SPUs that serve.
    pub spus_ready: Option<i32>,
    /// Partitions used.
    pub partitions: Option<i32>,
    /// Bytes used.
    pub storage_bytes: Option<i64>,
    /// First time that a client could use it.
    pub ready_at: Option<OffsetDateTime>,
    /// It has its certificate authorities.
    pub has_authorities: bool,
    /// The gateway knows its servers.
    pub has_backends: bool,
    /// Connections open now.
    pub open: i64,
}

impl ClusterRow {
    /// What each principal may do.
    pub fn principal_limits(&self) -> PrincipalLimits {
        PrincipalLimits {
            bytes_in_per_second: self.principal_bytes_in,
            bytes_out_per_second: self.principal_bytes_out,
            requests_per_second: self.principal_requests,
            connections: self.principal_connections,
        }
    }
}

/// What a list is narrowed by; all empty means the organisation's newest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// One cluster.
    pub id: Option<Uuid>,
    /// Clusters of a name: one that lives and any that can be had back.
    pub name: Option<&'a str>,
    /// Those after this one in the list.
    pub after: Option<Uuid>,
}

/// Clusters of an organisation, newest first.
pub async fn list(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    filter: Filter<'_>,
    limit: i64,
) -> sqlx::Result<Vec<ClusterRow>> {
    sqlx::query_as!(
        ClusterRow,
        r#"SELECT c.id, c.name, c.label, c.domain, c.runtime, c.region,
                  coalesce(r.endpoint, '') AS "endpoint!", c.host, c.plan, c.spus, c.durability,
                  c.max_storage_bytes, c.max_partitions, c.max_connections, c.max_message_bytes,
                  c.rate_bytes_in, c.rate_bytes_out, c.rate_requests, c.principal_bytes_in, c.principal_bytes_out,
                  c.principal_requests, c.principal_connections,
                  c.created_at, c.paused_at, c.deleted_at, c.purge_after,
                  s.state AS "state?", s.reason AS "reason?", s.spus_ready AS "spus_ready?",
                  s.partitions AS "partitions?", s.storage_bytes AS "storage_bytes?", s.ready_at AS "ready_at?",
                  EXISTS (SELECT FROM certificate_authorities a WHERE a.cluster_id = c.id) AS "has_authorities!",
                  EXISTS (SELECT FROM cluster_backends b WHERE b.cluster_id = c.id) AS "has_backends!",
                  coalesce((SELECT sum(latest.open) FROM (
                     SELECT DISTINCT ON (gateway) open FROM usage u
                     WHERE u.cluster_id = c.id AND u.minute > now() - interval '2 minutes'
                     ORDER BY gateway, minute DESC) latest), 0)::bigint AS "open!"
           FROM clusters c LEFT JOIN cluster_status s ON s.cluster_id = c.id LEFT JOIN regions r ON r.name = c.region
           WHERE c.organisation_id = $1
             AND ($2::uuid IS NULL OR c.id = $2)
             AND ($3::text IS NULL OR c.name = $3)
             AND ($4::uuid IS NULL OR (c.created_at, c.id) <
                   (SELECT created_at, id FROM clusters WHERE organisation_id = $1 AND id = $4))
           ORDER BY c.created_at DESC, c.id DESC LIMIT $5"#,
        organisation_id,
        filter.id,
        filter.name,
        filter.after,
        limit
    )
    .fetch_all(executor)
    .await
}

/// How many clusters an organisation has.
pub struct Count {
    /// Not deleted.
    pub living: i64,
    /// Deleted, and their data is kept for the time of grace.
    pub in_grace: i64,
}

/// Counts against the limit; the caller holds the organisation's lock.
pub async fn count(executor: impl PgExecutor<'_>, organisation_id: Uuid) -> sqlx::Result<Count> {
    sqlx::query_as!(
        Count,
        r#"SELECT count(*) FILTER (WHERE deleted_at IS NULL) AS "living!",
                  count(*) FILTER (WHERE deleted_at IS NOT NULL) AS "in_grace!"
           FROM clusters WHERE organisation_id = $1"#,
        organisation_id
    )
    .fetch_one(executor)
    .await
}

/// What a new cluster's row says.
pub struct NewCluster<'a> {
    /// The tenant's name for it.
    pub name: &'a str,
    /// The server's name for it.
    pub label: &'a str,
    /// `<label>.<base domain>`.
    pub domain: &'a str,
    /// process or kubernetes.
    pub runtime: &'a str,
    /// Where.
    pub region: &'a str,
    /// What it may use.
    pub plan: Plan,
    /// SPUs wanted.
    pub spus: i32,
    /// Who asked for it; becomes its first admin.
    pub created_by: Uuid,
}

/// Writes the row. The creator's entry in the access list comes with it, so that the first certificate works
/// from the cluster's first moment.
pub async fn insert(
    connection: &mut PgConnection,
    organisation_id: Uuid,
    new: &NewCluster<'_>,
) -> sqlx::Result<Uuid> {
    let id = sqlx::query_scalar!(
        "INSERT INTO clusters (organisation_id, name, label, domain, runtime, region, spus, created_by, plan,
                               max_storage_bytes, max_partitions, max_connections, rate_bytes_in, rate_bytes_out,
                               rate_requests)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14) RETURNING id",
        organisation_id,
        new.name,
        new.label,
        new.domain,
        new.runtime,
        new.region,
        new.spus,
        new.created_by,
        new.plan.name,
        new.plan.storage_bytes,
        new.plan.partitions,
        new.plan.connections,
        new.plan.bytes_per_second,
        new.plan.requests_per_second
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO access_entries (cluster_id, user_id, role) VALUES ($1, $2, 'admin')",
        id,
        new.created_by
    )
    .execute(connection)
    .await?;
    Ok(id)
}

/// Asks for deletion; whether the cluster was there and alive.
pub async fn delete(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
    grace_seconds: u32,
) -> sqlx::Result<bool> {
    let deleted = sqlx::query!(
        "UPDATE clusters SET deleted_at = now(), purge_after = now() + make_interval(secs => $3),
                             generation = generation + 1
         WHERE organisation_id = $1 AND id = $2 AND deleted_at IS NULL",
        organisation_id,
        id,
        f64::from(grace_seconds)
    )
    .execute(executor)
    .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Takes a deletion back while the grace lasts; whether there was one.
pub async fn undelete(executor: impl PgExecutor<'_>, organisation_id: Uuid, id: Uuid) -> sqlx::Result<bool> {
    let restored = sqlx::query!(
        "UPDATE clusters SET deleted_at = NULL, purge_after = NULL, generation = generation + 1
         WHERE organisation_id = $1 AND id = $2 AND deleted_at IS NOT NULL AND purge_after > now()",
        organisation_id,
        id
    )
    .execute(executor)
    .await?;
    Ok(restored.rows_affected() > 0)
}

/// Asks for its servers to rest, or to start again; whether that is a change. A deleted cluster is none to change.
pub async fn set_paused(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
    paused: bool,
) -> sqlx::Result<bool> {
    let changed = sqlx::query!(
        "UPDATE clusters SET paused_at = CASE WHEN $3 THEN now() END, generation = generation + 1
         WHERE organisation_id = $1 AND id = $2 AND deleted_at IS NULL AND (paused_at IS NOT NULL) <> $3",
        organisation_id,
        id,
        paused
    )
    .execute(executor)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// What is wanted and what is in force.
pub struct Generations {
    /// Wanted.
    pub wanted: i64,
    /// In force.
    pub observed: Option<i64>,
    /// The state.
    pub state: Option<String>,
}

/// Whether the last change of the access list is in force.
pub async fn generations(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
) -> sqlx::Result<Option<Generations>> {
    sqlx::query_as!(
        Generations,
        r#"SELECT c.generation AS wanted, s.observed_generation AS "observed?", s.state AS "state?"
           FROM clusters c LEFT JOIN cluster_status s ON s.cluster_id = c.id
           WHERE c.organisation_id = $1 AND c.id = $2"#,
        organisation_id,
        id
    )
    .fetch_optional(executor)
    .await
}
