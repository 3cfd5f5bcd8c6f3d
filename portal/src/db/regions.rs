//! Where clusters can run.

use sqlx::PgExecutor;
use time::OffsetDateTime;

/// A region.
#[derive(Debug, Clone)]
pub struct RegionRow {
    /// Its name.
    pub name: String,
    /// As tenants read it.
    pub title: String,
    /// process or kubernetes.
    pub runtime: String,
    /// host:port of its gateways.
    pub endpoint: String,
    /// Since when it takes no new clusters.
    pub closed_at: Option<OffsetDateTime>,
}

/// Every region, by name.
pub async fn list(executor: impl PgExecutor<'_>) -> sqlx::Result<Vec<RegionRow>> {
    sqlx::query_as!(
        RegionRow,
        "SELECT name, title, runtime, endpoint, closed_at FROM regions ORDER BY name LIMIT 1000"
    )
    .fetch_all(executor)
    .await
}

/// What a program's configuration says of its own region. The title, and whether it is closed, are the operator's.
pub async fn upsert_default(
    executor: impl PgExecutor<'_>,
    name: &str,
    runtime: &str,
    endpoint: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO regions AS r (name, title, runtime, endpoint) VALUES ($1, $1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET runtime = excluded.runtime, endpoint = excluded.endpoint
           WHERE (r.runtime, r.endpoint) IS DISTINCT FROM (excluded.runtime, excluded.endpoint)",
        name,
        runtime,
        endpoint
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Registers a region, or changes and opens one that is known. Its runtime stays as long as it has clusters; `false`:
/// it has some of another.
pub async fn add(
    executor: impl PgExecutor<'_>,
    name: &str,
    title: &str,
    runtime: &str,
    endpoint: &str,
) -> sqlx::Result<bool> {
    let added = sqlx::query!(
        "INSERT INTO regions (name, title, runtime, endpoint)
         SELECT $1, $2, $3, $4
         WHERE NOT EXISTS (SELECT FROM clusters c WHERE c.region = $1 AND c.runtime <> $3)
         ON CONFLICT (name) DO UPDATE
           SET title = excluded.title, runtime = excluded.runtime, endpoint = excluded.endpoint, closed_at = NULL",
        name,
        title,
        runtime,
        endpoint
    )
    .execute(executor)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// From now on it takes no new clusters; whether there is such a region.
pub async fn close(executor: impl PgExecutor<'_>, name: &str) -> sqlx::Result<bool> {
    let closed =
        sqlx::query!("UPDATE regions SET closed_at = coalesce(closed_at, now()) WHERE name = $1", name)
            .execute(executor)
            .await?;
    Ok(closed.rows_affected() > 0)
}
