//! Deleting a cluster, and having it back while the grace lasts.

use serde_json::json;

use crate::accounts::person::Person;
use crate::app::App;
use crate::clusters::create::{self, Room};
use crate::db::audit::{self, Outcome};
use crate::db::clusters::{self, ClusterRow};
use crate::db::violates;
use crate::problem::Problem;

/// Asks for deletion. Deleting twice is no fault.
pub async fn delete(app: &App, person: &Person, cluster: &ClusterRow) -> Result<(), Problem> {
    let mut tx = app.pool.begin().await?;
    let grace = app.config.delete_grace_seconds;
    if clusters::delete(&mut *tx, person.organisation_id, cluster.id, grace).await? {
        let object = cluster.id.to_string();
        let detail = json!({ "name": cluster.name, "grace_seconds": grace });
        audit::record(&mut *tx, &person.actor, "cluster.delete", &object, Outcome::Done, detail).await?;
    }
    Ok(tx.commit().await?)
}

/// Takes a deletion back. Its place among the living may have been taken in the meantime.
pub async fn undelete(app: &App, person: &Person, cluster: &ClusterRow) -> Result<(), Problem> {
    if cluster.deleted_at.is_none() {
        return Ok(());
    }
    let mut tx = app.pool.begin().await?;
    create::check_limit(&mut tx, person.organisation_id, Room::Restored).await?;
    let restored =
        clusters::undelete(&mut *tx, person.organisation_id, cluster.id).await.map_err(|error| {
            if violates(&error, "clusters_name_key") {
                create::name_taken(&cluster.name)
            } else {
                error.into()
            }
        })?;
    if !restored {
        return Err(Problem::conflict(
            "The time of grace is over; the cluster's data is gone.",
            "Create a new cluster.",
        ));
    }
    let object = cluster.id.to_string();
    let detail = json!({ "name": cluster.name });
    audit::record(&mut *tx, &person.actor, "cluster.undelete", &object, Outcome::Done, detail).await?;
    Ok(tx.commit().await?)
}
