//! Creating a cluster: one row that says what is wanted. The provisioner does the rest.

use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::accounts::person::Person;
use crate::app::App;
use crate::clusters::plans::Plan;
use crate::clusters::{labels, names, regions};
use crate::config::ServeConfig;
use crate::db::audit::{self, Actor, Outcome};
use crate::db::clusters::{self, NewCluster};
use crate::db::regions::RegionRow;
use crate::db::{organisations, violates};
use crate::edge::once::Once;
use crate::problem::Problem;

/// Deleted clusters keep their data for the time of grace, so their number has a limit too: this many times the
/// number of living ones.
const GRACE_FACTOR: i64 = 4;
/// A label that was given before is not given again; another is drawn so many times.
const DRAWS: u32 = 5;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it may use.
    pub plan: Plan,
    /// Its SPUs.
    pub spus: i32,
    /// Where it shall run; anywhere when nothing is said.
    pub region: Option<&'a str>,
}

/// Creates a cluster for a person's organisation.
pub async fn create(app: &App, person: &Person, wanted: Wanted<'_>, once: &Once) -> Result<Uuid, Problem> {
    if let Once::Again(id) = once {
        return Ok(*id);
    }
    let mut tx = app.pool.begin().await?;
    let (organisation_id, user_id) = (person.organisation_id, person.user_id);
    let made = async {
        let id = within(&mut tx, &app.config, organisation_id, user_id, &person.actor, wanted).await?;
        once.note_made(&mut tx, id).await?;
        Ok(id)
    };
    match made.await {
        Ok(id) => {
            tx.commit().await?;
            Ok(id)
        }
        Err(problem) => {
            tx.rollback().await?;
            note_refusal(app, &person.actor, wanted, &problem).await?;
            Err(problem)
        }
    }
}

async fn note_refusal(
    app: &App,
    actor: &Actor,
    wanted: Wanted<'_>,
    problem: &Problem,
) -> Result<(), Problem> {
    let name: String = wanted.name.chars().take(80).collect();
    let detail = json!({ "why": problem.shown().detail });
    audit::record(&app.pool, actor, "cluster.create", &name, Outcome::Refused, detail).await?;
    Ok(())
}

/// Creates a cluster inside a transaction that may hold more.
pub async fn within(
    connection: &mut PgConnection,
    config: &ServeConfig,
    organisation_id: Uuid,
    user_id: Uuid,
    actor: &Actor,
    wanted: Wanted<'_>,
) -> Result<Uuid, Problem> {
    names::check(wanted.name)?;
    wanted.plan.check_spus(wanted.spus)?;
    let known = regions::known(connection, config).await?;
    let region = regions::choose(&known, &config.region, wanted.region)?;
    check_limit(connection, organisation_id, Room::Another).await?;
    let placed = Placed { wanted, region, base_domain: &config.base_domain };
    let (id, label) = insert(connection, placed, organisation_id, user_id).await?;
    let detail = json!({
        "name": wanted.name, "label": label, "spus": wanted.spus, "plan": wanted.plan.name, "region": region.name
    });
    audit::record(connection, actor, "cluster.create", &id.to_string(), Outcome::Done, detail).await?;
    Ok(id)
}

/// What is wanted, and where.
#[derive(Clone, Copy)]
struct Placed<'a> {
    wanted: Wanted<'a>,
    region: &'a RegionRow,
    base_domain: &'a str,
}

/// Writes the row under a label that was never given before.
async fn insert(
    connection: &mut PgConnection,
    Placed { wanted, region, base_domain }: Placed<'_>,
    organisation_id: Uuid,
    user_id: Uuid,
) -> Result<(Uuid, String), Problem> {
    for _ in 0..DRAWS {
        let label = labels::make();
        let new = NewCluster {
            name: wanted.name,
            label: &label,
            domain: &format!("{label}.{base_domain}"),
            runtime: &region.runtime,
            region: &region.name,
            plan: wanted.plan,
            spus: wanted.spus,
            created_by: user_id,
        };
        // A savepoint: a label that is taken must not undo what the transaction did before.
        let mut savepoint = connection.begin().await?;
        match clusters::insert(&mut savepoint, organisation_id, &new).await {
            Ok(id) => {
                savepoint.commit().await?;
                return Ok((id, label));
            }
            Err(error) if violates(&error, "used_labels_pkey") => savepoint.rollback().await?,
            Err(error) if violates(&error, "clusters_name_key") => return Err(name_taken(wanted.name)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::internal(&"every label that was drawn is taken"))
}

/// Another living cluster has the name.
pub fn name_taken(name: &str) -> Problem {
    Problem::conflict(
        format!("Your organisation has a cluster named {name} already."),
        "Choose another name, or delete the other cluster first.",
    )
}

/// What room is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// One more cluster.
    Another,
    /// A deleted one, whose data is there already.
    Restored,
}

/// Takes the organisation's lock and checks that there is room.
pub async fn check_limit(
    connection: &mut PgConnection,
    organisation_id: Uuid,
    room: Room,
) -> Result<(), Problem> {
    let limit = i64::from(organisations::lock_limit(&mut *connection, organisation_id).await?);
    let count = clusters::count(&mut *connection, organisation_id).await?;
    if count.living >= limit {
        return Err(Problem::conflict(
            format!("Your organisation has {} of {limit} clusters.", count.living),
            "Delete a cluster, or ask the operator for a higher limit.",
        ));
    }
    let kept = count.living + count.in_grace;
    if room == Room::Another && kept >= limit.saturating_mul(GRACE_FACTOR) {
        return Err(Problem::conflict(
            format!("{} deleted clusters still keep their data.", count.in_grace),
            "Undelete one of them, or wait until their time of grace is over.",
        ));
    }
    Ok(())
}
