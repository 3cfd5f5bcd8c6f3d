//! Regions.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::person::ApiCaller;
use crate::app::App;
use crate::clusters::regions;
use crate::edge::errors::ProblemBody;
use crate::problem::Problem;

/// Where a cluster can run.
#[derive(Serialize, ToSchema)]
pub struct Region {
    /// Say it as `region` of a new cluster.
    name: String,
    /// For people.
    title: String,
    /// Where clients of its clusters connect: host:port.
    endpoint: String,
    /// New clusters run here when nothing is said.
    default: bool,
}

/// The regions that take new clusters, the default first.
#[derive(Serialize, ToSchema)]
pub struct RegionList {
    items: Vec<Region>,
}

/// List the regions that take new clusters.
#[utoipa::path(get, path = "/regions", tag = "clusters", security(("bearer" = [])),
    responses((status = 200, body = RegionList),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(State(app): State<App>, _: ApiCaller) -> Result<Json<RegionList>, Problem> {
    let mut connection = app.pool.acquire().await?;
    let known = regions::known(&mut connection, &app.config).await?;
    let open = regions::open(&known, &app.config.region).into_iter().enumerate();
    let items = open.map(|(place, region)| Region {
        name: region.name.clone(),
        title: region.title.clone(),
        endpoint: region.endpoint.clone(),
        default: place == 0,
    });
    Ok(Json(RegionList { items: items.collect() }))
}
