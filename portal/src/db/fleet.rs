//! The operator's view of every tenant: the only queries that name no organisation.

use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One cluster of the fleet.
#[derive(Debug, Clone)]
pub struct FleetRow {
    /// Its id.
    pub id: Uuid,
    /// The tenant's name for it.
    pub name: String,
    /// The server's name for it.
    pub label: String,
    /// The tenant.
    pub organisation: String,
    /// The tenant's owner.
    pub owner: Option<String>,
    /// Where it runs.
    pub region: String,
    /// The machine.
    pub host: Option<String>,
    /// small, medium or large.
    pub plan: String,
    /// SPUs wanted.
    pub spus: i32,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// Since when its servers shall rest.
    pub paused_at: Option<OffsetDateTime>,
    /// First time that a client could use it.
    pub ready_at: Option<OffsetDateTime>,
    /// When its deletion was asked for.
    pub deleted_at: Option<OffsetDateTime>,
    /// What the provisioner saw last.
    pub state: Option<String>,
    /// SPUs that serve.
    pub spus_ready: Option<i32>,
    /// Restarts of its processes.
    pub restarts: Option<i32>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When.
    pub last_error_at: Option<OffsetDateTime>,
    /// Partitions.
    pub partitions: Option<i32>,
    /// Bytes kept.
    pub storage_bytes: Option<i64>,
    /// Connections open now.
    pub open: i64,
    /// Bytes in within the last hour.
    pub bytes_in: i64,
    /// Bytes out within the last hour.
    pub bytes_out: i64,
}

/// Clusters of a region, or of all, whose name, label, organisation or owner holds the text; those in trouble first.
/// What costs a look into other tables is looked up only for the rows that are shown.
pub async fn search(
    executor: impl PgExecutor<'_>,
    text: &str,
    region: Option<&str>,
    limit: i64,
) -> sqlx::Result<Vec<FleetRow>> {
    let pattern = format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    sqlx::query_as!(
        FleetRow,
        r#"WITH shown AS (
             SELECT c.*, o.name AS organisation, coalesce(s.state IN ('failed', 'degraded'), false) AS troubled
             FROM clusters c JOIN organisations o ON o.id = c.organisation_id
             LEFT JOIN cluster_status s ON s.cluster_id = c.id
             WHERE ($2::text IS NULL OR c.region = $2)
               AND (c.name ILIKE $1 OR c.label ILIKE $1 OR o.name ILIKE $1
                 OR EXISTS (SELECT FROM memberships m JOIN users u ON u.id = m.user_id
                            WHERE m.organisation_id = o.id AND u.email ILIKE $1))
             ORDER BY troubled DESC, c.created_at DESC, c.id LIMIT $3)
           SELECT c.id, c.name, c.label, c.organisation,
                  (SELECT u.email FROM memberships m JOIN users u ON u.id = m.user_id
                   WHERE m.organisation_id = c.organisation_id AND m.role = 'owner'
                   ORDER BY m.created_at LIMIT 1) AS owner,
                  c.region, c.host, c.plan, c.spus, c.created_at, c.paused_at, s.ready_at AS "ready_at?", c.deleted_at,
                  s.state AS "state?", s.spus_ready AS "spus_ready?", s.restarts AS "restarts?", s.last_error,
                  s.last_error_at, s.partitions AS "partitions?", s.storage_bytes AS "storage_bytes?",
                  coalesce((SELECT sum(latest.open) FROM (
                     SELECT DISTINCT ON (gateway) open FROM usage u
                     WHERE u.cluster_id = c.id AND u.minute > now() - interval '2 minutes'
                     ORDER BY gateway, minute DESC) latest), 0)::bigint AS "open!",
                  coalesce(t.bytes_in, 0)::bigint AS "bytes_in!", coalesce(t.bytes_out, 0)::bigint AS "bytes_out!"
           FROM shown c LEFT JOIN cluster_status s ON s.cluster_id = c.id
           LEFT JOIN LATERAL (SELECT sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out FROM usage u
                              WHERE u.cluster_id = c.id AND u.minute > now() - interval '1 hour') t ON true
           ORDER BY c.troubled DESC, c.created_at DESC, c.id"#,
        pattern,
        region,
        limit
    )
    .fetch_all(executor)
    .await
}

/// The whole fleet in numbers.
pub struct Totals {
    /// Tenants.
    pub organisations: i64,
    /// Clusters that are not deleted.
    pub clusters: i64,
    /// Of these, those that serve.
    pub running: i64,
    /// Of these, those in trouble.
    pub troubled: i64,
    /// Of these, those that rest.
    pub paused: i64,
}

/// The whole fleet, or that of a region, in numbers.
pub async fn totals(executor: impl PgExecutor<'_>, region: Option<&str>) -> sqlx::Result<Totals> {
    sqlx::query_as!(
        Totals,
        r#"SELECT (SELECT count(*) FROM organisations) AS "organisations!",
                  count(*) FILTER (WHERE c.deleted_at IS NULL) AS "clusters!",
                  count(*) FILTER (WHERE c.deleted_at IS NULL AND c.paused_at IS NULL AND s.state = 'running') AS "running!",
                  count(*) FILTER (WHERE c.deleted_at IS NULL AND s.state IN ('failed', 'degraded')) AS "troubled!",
                  count(*) FILTER (WHERE c.deleted_at IS NULL AND c.paused_at IS NOT NULL) AS "paused!"
           FROM clusters c LEFT JOIN cluster_status s ON s.cluster_id = c.id
           WHERE $1::text IS NULL OR c.region = $1"#,
        region
    )
    .fetch_one(executor)
    .await
}
