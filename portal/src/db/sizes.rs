//! What a cluster may use: its plan, its SPUs, and the limits of each principal.

use sqlx::PgExecutor;
use uuid::Uuid;

use crate::clusters::plans::Plan;
use crate::clusters::principal_limits::PrincipalLimits;

/// What a change of a cluster's size or limits depends on.
pub struct SizeRow {
    /// Its plan.
    pub plan: String,
    /// SPUs wanted.
    pub spus: i32,
    /// process or kubernetes.
    pub runtime: String,
    /// Its deletion is wanted.
    pub deleted: bool,
    /// What each principal may do.
    pub principals: PrincipalLimits,
}

/// The size of a cluster, which nobody else changes until the transaction ends.
pub async fn lock(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
) -> sqlx::Result<Option<SizeRow>> {
    let row = sqlx::query!(
        r#"SELECT plan, spus, runtime, deleted_at IS NOT NULL AS "deleted!", principal_bytes_in, principal_bytes_out,
                  principal_requests, principal_connections FROM clusters
           WHERE organisation_id = $1 AND id = $2 FOR UPDATE"#,
        organisation_id,
        id
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| SizeRow {
        plan: row.plan,
        spus: row.spus,
        runtime: row.runtime,
        deleted: row.deleted,
        principals: PrincipalLimits {
            bytes_in_per_second: row.principal_bytes_in,
            bytes_out_per_second: row.principal_bytes_out,
            requests_per_second: row.principal_requests,
            connections: row.principal_connections,
        },
    }))
}

/// Sets what each principal may do.
pub async fn set_principal_limits(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
    limits: PrincipalLimits,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE clusters SET principal_bytes_in = $3, principal_bytes_out = $4, principal_requests = $5,
                             principal_connections = $6, generation = generation + 1
         WHERE organisation_id = $1 AND id = $2",
        organisation_id,
        id,
        limits.bytes_in_per_second,
        limits.bytes_out_per_second,
        limits.requests_per_second,
        limits.connections
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Asks for a number of SPUs.
pub async fn set_spus(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
    spus: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE clusters SET spus = $3, generation = generation + 1 WHERE organisation_id = $1 AND id = $2",
        organisation_id,
        id,
        spus
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Asks for a larger plan. A limit that the operator raised beyond it, or took away, stays so.
pub async fn set_plan(
    executor: impl PgExecutor<'_>,
    organisation_id: Uuid,
    id: Uuid,
    plan: Plan,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE clusters SET plan = $3, max_storage_bytes = greatest(max_storage_bytes, $4),
                             max_partitions = greatest(max_partitions, $5),
                             max_connections = greatest(max_connections, $6),
                             rate_bytes_in = CASE WHEN rate_bytes_in IS NOT NULL THEN greatest(rate_bytes_in, $7) END,
                             rate_bytes_out = CASE WHEN rate_bytes_out IS NOT NULL THEN greatest(rate_bytes_out, $7) END,
                             rate_requests = CASE WHEN rate_requests IS NOT NULL THEN greatest(rate_requests, $8) END,
                             generation = generation + 1
         WHERE organisation_id = $1 AND id = $2",
        organisation_id,
        id,
        plan.name,
        plan.storage_bytes,
        plan.partitions,
        plan.connections,
        plan.bytes_per_second,
        plan.requests_per_second
    )
    .execute(executor)
    .await?;
    Ok(())
}
