//! Traffic, as the gateways count it.

use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One minute of one cluster.
#[derive(Debug, Clone)]
pub struct Minute {
    /// The cluster.
    pub cluster_id: Uuid,
    /// The minute's start.
    pub minute: OffsetDateTime,
    /// Client to cluster.
    pub bytes_in: i64,
    /// Cluster to client.
    pub bytes_out: i64,
}

/// The last hour of an organisation's clusters, or of one.
pub async fn last_hour(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    cluster_id: Option<Uuid>,
) -> sqlx::Result<Vec<Minute>> {
    sqlx::query_as!(
        Minute,
        r#"SELECT u.cluster_id, u.minute, sum(u.bytes_in)::bigint AS "bytes_in!",
                  sum(u.bytes_out)::bigint AS "bytes_out!"
           FROM usage u JOIN clusters c ON c.id = u.cluster_id
           WHERE c.organisation_id = $1 AND ($2::uuid IS NULL OR c.id = $2) AND u.minute > now() - interval '1 hour'
           GROUP BY u.cluster_id, u.minute ORDER BY u.minute"#,
        organisation_id,
        cluster_id
    )
    .fetch_all(executor)
    .await
}
