//! Clusters.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::accounts::person::ApiCaller;
use crate::api::time;
use crate::app::App;
use crate::clusters::change::{self, Change, Servers};
use crate::clusters::create::{self, Wanted};
use crate::clusters::principal_limits::PrincipalLimits;
use crate::clusters::{self, plans, remove};
use crate::db::clusters::{self as rows, ClusterRow, Filter};
use crate::edge::errors::ProblemBody;
use crate::edge::json::JsonBody;
use crate::edge::once::Once;
use crate::problem::Problem;

/// Items of one page when nothing is said, and at most.
const PAGE: i64 = 50;
const MOST: i64 = 100;

/// A cluster.
#[derive(Serialize, ToSchema)]
pub struct Cluster {
    id: Uuid,
    name: String,
    /// The server's name for it; never used again.
    label: String,
    /// The TLS name; its SPUs are below it.
    domain: String,
    /// Where clients connect: host:port.
    endpoint: String,
    region: String,
    runtime: String,
    /// creating, running, degraded, failed, pausing, paused, resuming, deleting or deleted.
    state: &'static str,
    /// What is being done, or what is wrong.
    reason: String,
    /// small, medium or large.
    plan: String,
    spus: i32,
    spus_ready: i32,
    /// disk: acknowledged means on disk. memory: it does not.
    durability: String,
    created_at: String,
    /// First time that a client could use it.
    ready_at: Option<String>,
    /// Since when its servers shall rest.
    paused_at: Option<String>,
    deleted_at: Option<String>,
    /// Until then it can be had back.
    purge_after: Option<String>,
    partitions: i32,
    storage_bytes: i64,
    limits: Limits,
}

/// A cluster's limits.
#[derive(Serialize, ToSchema)]
pub struct Limits {
    storage_bytes: i64,
    partitions: i32,
    connections: i32,
    message_bytes: i32,
    /// Of all clients together.
    rates: Rates,
    /// Of each principal.
    principals: PrincipalLimits,
}

/// How fast clients may go, on each of the cluster's servers. Whoever goes beyond is slowed down; null is no limit.
#[derive(Serialize, ToSchema)]
pub struct Rates {
    bytes_in_per_second: Option<i64>,
    bytes_out_per_second: Option<i64>,
    requests_per_second: Option<i32>,
}

impl Cluster {
    fn new(row: ClusterRow) -> Self {
        let principals = row.principal_limits();
        Cluster {
            state: row.state_now().word(),
            reason: row.reason_now(),
            id: row.id,
            name: row.name,
            label: row.label,
            domain: row.domain,
            endpoint: row.endpoint,
            region: row.region,
            runtime: row.runtime,
            plan: row.plan,
            spus: row.spus,
            spus_ready: row.spus_ready.unwrap_or(0),
            durability: row.durability,
            created_at: time(row.created_at),
            ready_at: row.ready_at.map(time),
            paused_at: row.paused_at.map(time),
            deleted_at: row.deleted_at.map(time),
            purge_after: row.purge_after.map(time),
            partitions: row.partitions.unwrap_or(0),
            storage_bytes: row.storage_bytes.unwrap_or(0),
            limits: Limits {
                storage_bytes: row.max_storage_bytes,
                partitions: row.max_partitions,
                connections: row.max_connections,
                message_bytes: row.max_message_bytes,
                rates: Rates {
                    bytes_in_per_second: row.rate_bytes_in,
                    bytes_out_per_second: row.rate_bytes_out,
                    requests_per_second: row.rate_requests,
                },
                principals,
            },
        }
    }
}

/// A page of clusters, newest first.
#[derive(Serialize, ToSchema)]
pub struct ClusterPage {
    items: Vec<Cluster>,
    /// Send it as `cursor` for the next page.
    next_cursor: Option<String>,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Items of the page, 1 to 100.
    limit: Option<i64>,
    /// The last page's `next_cursor`.
    cursor: Option<Uuid>,
}

/// A cluster to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCluster {
    /// Lower-case letters, digits and hyphens; begins with a letter; at most 32.
    name: String,
    /// 1 to what the plan gives; 1 when nothing is said.
    spus: Option<i32>,
    /// small, medium or large; small when nothing is said.
    plan: Option<String>,
    /// One of `/regions`; the portal's default when nothing is said.
    region: Option<String>,
}

/// A change of a cluster's size or limits; what is not said stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterChange {
    /// 1 to what the plan gives. On one machine the number only grows.
    spus: Option<i32>,
    /// small, medium or large; a plan only grows.
    plan: Option<String>,
    /// All limits of each principal: what is left out of them is not limited any more.
    principal_limits: Option<PrincipalLimits>,
}

async fn reread(app: &App, organisation_id: Uuid, id: Uuid) -> Result<Json<Cluster>, Problem> {
    let row = clusters::find(app, organisation_id, &id.to_string()).await?;
    Ok(Json(Cluster::new(row)))
}

/// List clusters.
#[utoipa::path(get, path = "/clusters", tag = "clusters", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, body = ClusterPage),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<App>,
    caller: ApiCaller,
    Query(page): Query<PageQuery>,
) -> Result<Json<ClusterPage>, Problem> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::invalid("limit", "A page has 1 to 100 items.", "Give a limit in that range."));
    }
    let filter = Filter { after: page.cursor, ..Filter::default() };
    let organisation_id = caller.person.organisation_id;
    let mut found = rows::list(&app.pool, organisation_id, filter, limit + 1).await?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > wanted;
    found.truncate(wanted);
    let next_cursor = found.last().filter(|_| more).map(|row| row.id.to_string());
    let items = found.into_iter().map(Cluster::new).collect();
    Ok(Json(ClusterPage { items, next_cursor }))
}

/// Create a cluster.
#[utoipa::path(post, path = "/clusters", tag = "clusters", request_body = NewCluster, security(("bearer" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "A retry with it gets the first answer")),
    responses((status = 201, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    caller: ApiCaller,
    once: Once,
    JsonBody(new): JsonBody<NewCluster>,
) -> Result<(StatusCode, Json<Cluster>), Problem> {
    let plan = new.plan.as_deref().map_or(Ok(plans::SMALLEST), plans::named)?;
    let spus = new.spus.unwrap_or(1);
    let wanted = Wanted { name: &new.name, plan, spus, region: new.region.as_deref() };
    let id = create::create(&app, &caller.person, wanted, &once).await?;
    Ok((StatusCode::CREATED, reread(&app, caller.person.organisation_id, id).await?))
}

/// Show a cluster by its id or name.
#[utoipa::path(get, path = "/clusters/{cluster}", tag = "clusters", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 200, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn show(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<Json<Cluster>, Problem> {
    let row = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    Ok(Json(Cluster::new(row)))
}

/// Change a cluster's plan, its number of SPUs, or the limits of each principal.
#[utoipa::path(patch, path = "/clusters/{cluster}", tag = "clusters", request_body = ClusterChange,
    security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 200, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
    JsonBody(wanted): JsonBody<ClusterChange>,
) -> Result<Json<Cluster>, Problem> {
    let row = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    let principals = wanted.principal_limits;
    let change = Change { plan: wanted.plan.as_deref(), spus: wanted.spus, principals };
    change::update(&app, &caller.person, &row, change).await?;
    reread(&app, caller.person.organisation_id, row.id).await
}

/// Let a cluster's servers rest. Data, certificates and access are kept; clients are cut off.
#[utoipa::path(post, path = "/clusters/{cluster}/pause", tag = "clusters", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 202, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn pause(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<(StatusCode, Json<Cluster>), Problem> {
    let row = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    change::set_servers(&app, &caller.person, &row, Servers::Rest).await?;
    Ok((StatusCode::ACCEPTED, reread(&app, caller.person.organisation_id, row.id).await?))
}

/// Start a paused cluster's servers again.
#[utoipa::path(post, path = "/clusters/{cluster}/resume", tag = "clusters", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 202, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn resume(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<(StatusCode, Json<Cluster>), Problem> {
    let row = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    change::set_servers(&app, &caller.person, &row, Servers::Run).await?;
    Ok((StatusCode::ACCEPTED, reread(&app, caller.person.organisation_id, row.id).await?))
}

/// Delete a cluster. Its data is kept for the time of grace.
#[utoipa::path(delete, path = "/clusters/{cluster}", tag = "clusters", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 202, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn delete(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<(StatusCode, Json<Cluster>), Problem> {
    let row = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    remove::delete(&app, &caller.person, &row).await?;
    Ok((StatusCode::ACCEPTED, reread(&app, caller.person.organisation_id, row.id).await?))
}

/// Take a deletion back.
#[utoipa::path(post, path = "/clusters/{cluster}/undelete", tag = "clusters", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 200, body = Cluster),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn undelete(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<Json<Cluster>, Problem> {
    let row = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    remove::undelete(&app, &caller.person, &row).await?;
    reread(&app, caller.person.organisation_id, row.id).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::state::tests::row;

    #[test]
    fn a_cluster_has_the_fields_of_the_contract() {
        let json = serde_json::to_value(Cluster::new(row())).unwrap();
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "created_at",
                "deleted_at",
                "domain",
                "durability",
                "endpoint",
                "id",
                "label",
                "limits",
                "name",
                "partitions",
                "paused_at",
                "plan",
                "purge_after",
                "ready_at",
                "reason",
                "region",
                "runtime",
                "spus",
                "spus_ready",
                "state",
                "storage_bytes"
            ]
        );
        assert_eq!(json["state"], "creating");
        assert_eq!(json["created_at"], "2027-01-15T08:00:00Z");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<NewCluster>(r#"{"name":"a","max_storage_bytes":1}"#).is_err());
        assert!(serde_json::from_str::<NewCluster>(r#"{"name":"a","name":"b"}"#).is_err());
        assert!(serde_json::from_str::<NewCluster>(r#"{"name":"a"}"#).is_ok());
    }
}
