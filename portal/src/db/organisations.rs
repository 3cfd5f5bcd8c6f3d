//! Organisations: who owns clusters.

use sqlx::PgConnection;
use uuid::Uuid;

/// Makes an organisation with its owner.
pub async fn insert(connection: &mut PgConnection, name: &str, owner: Uuid) -> sqlx::Result<Uuid> {
    let id = sqlx::query_scalar!("INSERT INTO organisations (name) VALUES ($1) RETURNING id", name)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query!(
        "INSERT INTO memberships (organisation_id, user_id, role) VALUES ($1, $2, 'owner')",
        id,
        owner
    )
    .execute(connection)
    .await?;
    Ok(id)
}

/// Locks the organisation's row until the transaction ends and says its limit. Whoever counts clusters against
/// the limit holds this lock, so two cannot both take the last place.
pub async fn lock_limit(connection: &mut PgConnection, organisation_id: Uuid) -> sqlx::Result<i32> {
    sqlx::query_scalar!("SELECT max_clusters FROM organisations WHERE id = $1 FOR UPDATE", organisation_id)
        .fetch_one(connection)
        .await
}
