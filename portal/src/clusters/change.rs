//! Changing a cluster that exists: its plan, its number of SPUs, what each principal may do, and whether its servers
//! rest. Asking twice for the same is no fault and no second change.

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::accounts::person::Person;
use crate::app::App;
use crate::clusters::plans::{self, Size};
use crate::clusters::principal_limits::PrincipalLimits;
use crate::db::audit::{self, Outcome};
use crate::db::clusters::{self, ClusterRow};
use crate::db::sizes;
use crate::problem::Problem;

/// What is wanted; what is not said stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// The plan's name.
    pub plan: Option<&'a str>,
    /// The number of SPUs.
    pub spus: Option<i32>,
    /// What each principal may do, whole.
    pub principals: Option<PrincipalLimits>,
}

/// Changes plan, number of SPUs and limits of principals, all or nothing.
pub async fn update(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    change: Change<'_>,
) -> Result<(), Problem> {
    let mut tx = app.pool.begin().await?;
    match update_within(&mut tx, person, cluster, change).await {
        Ok(()) => Ok(tx.commit().await?),
        Err(problem) => {
            tx.rollback().await?;
            let detail = json!({ "why": problem.shown().detail });
            note(app, person, cluster, "cluster.update", Outcome::Refused, detail).await?;
            Err(problem)
        }
    }
}

async fn update_within(
    connection: &mut PgConnection,
    person: &Person,
    cluster: &ClusterRow,
    change: Change<'_>,
) -> Result<(), Problem> {
    let organisation_id = person.organisation_id;
    let row = sizes::lock(&mut *connection, organisation_id, cluster.id)
        .await?
        .ok_or(Problem::Missing("cluster"))?;
    if row.deleted {
        return Err(deleted(cluster));
    }
    let from = Size { plan: plans::named(&row.plan)?, spus: row.spus };
    let plan = change.plan.map_or(Ok(from.plan), plans::named)?;
    let to = Size { plan, spus: change.spus.unwrap_or(from.spus) };
    plans::check_change(from, to, &row.runtime)?;
    let principals = change.principals.unwrap_or(row.principals);
    principals.check()?;
    if to.plan != from.plan {
        sizes::set_plan(&mut *connection, organisation_id, cluster.id, to.plan).await?;
    }
    if to.spus != from.spus {
        sizes::set_spus(&mut *connection, organisation_id, cluster.id, to.spus).await?;
    }
    if principals != row.principals {
        sizes::set_principal_limits(&mut *connection, organisation_id, cluster.id, principals).await?;
    }
    if (to, principals) != (from, row.principals) {
        let words = |size: Size, principals: PrincipalLimits| json!({ "plan": size.plan.name, "spus": size.spus, "principal_limits": principals });
        let detail = json!({ "from": words(from, row.principals), "to": words(to, principals) });
        let object = cluster.id.to_string();
        audit::record(connection, &person.actor, "cluster.update", &object, Outcome::Done, detail).await?;
    }
    Ok(())
}

/// What its servers shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// Stop; data, certificates and access are kept.
    Rest,
    /// Start again.
    Run,
}

/// Pauses or resumes a cluster.
pub async fn set_servers(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    servers: Servers,
) -> Result<(), Problem> {
    let action = match servers {
        Servers::Rest => "cluster.pause",
        Servers::Run => "cluster.resume",
    };
    if cluster.deleted_at.is_some() {
        let problem = deleted(cluster);
        let detail = json!({ "why": problem.shown().detail });
        note(app, person, cluster, action, Outcome::Refused, detail).await?;
        return Err(problem);
    }
    let mut tx = app.pool.begin().await?;
    let rest = servers == Servers::Rest;
    if clusters::set_paused(&mut *tx, person.organisation_id, cluster.id, rest).await? {
        let object = cluster.id.to_string();
        let detail = json!({ "name": cluster.name });
        audit::record(&mut *tx, &person.actor, action, &object, Outcome::Done, detail).await?;
    }
    Ok(tx.commit().await?)
}

fn deleted(cluster: &ClusterRow) -> Problem {
    Problem::conflict(
        format!("The cluster {} is deleted.", cluster.name),
        "Undelete it first, or choose another cluster.",
    )
}

async fn note(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    action: &str,
    outcome: Outcome,
    detail: Value,
) -> Result<(), Problem> {
    Ok(audit::record(&app.pool, &person.actor, action, &cluster.id.to_string(), outcome, detail).await?)
}
