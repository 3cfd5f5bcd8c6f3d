//! Clusters as tenants want them: rules, creation, change, pause, deletion, and the words for what is.

pub mod change;
pub mod create;
pub mod labels;
pub mod names;
pub mod plans;
pub mod principal_limits;
pub mod regions;
pub mod remove;
pub mod state;

use uuid::Uuid;

use crate::app::App;
use crate::db::clusters::{self as rows, ClusterRow, Filter};
use crate::problem::Problem;

/// A cluster of an organisation by its id or name; of several with a name, the living one.
pub async fn find(app: &App, organisation_id: Uuid, id_or_name: &str) -> Result<ClusterRow, Problem> {
    let filter = match id_or_name.parse::<Uuid>() {
        Ok(id) => Filter { id: Some(id), ..Filter::default() },
        Err(_) => Filter { name: Some(id_or_name), ..Filter::default() },
    };
    let mut found = rows::list(&app.pool, organisation_id, filter, 50).await?;
    found.sort_by_key(|row| row.deleted_at.is_some());
    found.into_iter().next().ok_or(Problem::Missing("cluster"))
}
