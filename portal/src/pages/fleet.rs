//! `/fleet`: every tenant's clusters, for who runs the cloud.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::accounts::person::Operator;
use crate::app::App;
use crate::clusters::state::{self, State as ClusterState, Wanted};
use crate::db::fleet::{self, FleetRow, Totals};
use crate::db::regions::{self, RegionRow};
use crate::live::events::{self, Fragments, Patched};
use crate::pages::frame::{Frame, Here};
use crate::problem::Problem;
use crate::show::{self, When};

/// Rows on the page; the search narrows them.
const MOST_ROWS: i64 = 200;

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    search: Search,
    /// To choose from; a choice of one is none.
    regions: Vec<RegionRow>,
    fleet: Fleet,
}

#[derive(Template)]
#[template(path = "part/fleet_table.html")]
struct FleetTable<'a> {
    fleet: &'a Fleet,
}

#[derive(Template)]
#[template(path = "part/fleet_totals.html")]
struct FleetTotals<'a> {
    fleet: &'a Fleet,
}

struct Fleet {
    totals: Totals,
    rows: Vec<FleetView>,
}

impl Fleet {
    fn cut(&self) -> bool {
        i64::try_from(self.rows.len()).is_ok_and(|rows| rows >= MOST_ROWS)
    }
}

struct FleetView {
    row: FleetRow,
    state: ClusterState,
    created: When,
    error_at: Option<When>,
}

impl FleetView {
    fn new(row: FleetRow, now: OffsetDateTime) -> Self {
        FleetView {
            state: state::of(
                Wanted::of(row.deleted_at.is_some(), row.paused_at.is_some()),
                row.state.as_deref(),
                row.ready_at.is_some(),
            ),
            created: When::new(row.created_at, now),
            error_at: row.last_error_at.map(|at| When::new(at, now)),
            row,
        }
    }

    fn word(&self) -> &'static str {
        self.state.word()
    }

    fn spus(&self) -> String {
        format!("{}/{}", self.row.spus_ready.unwrap_or(0), self.row.spus)
    }

    fn bytes_in(&self) -> String {
        show::bytes(self.row.bytes_in)
    }

    fn bytes_out(&self) -> String {
        show::bytes(self.row.bytes_out)
    }

    fn storage(&self) -> String {
        show::bytes(self.row.storage_bytes.unwrap_or(0))
    }

    fn open(&self) -> String {
        show::count(self.row.open)
    }

    fn restarts(&self) -> String {
        show::count(self.row.restarts.unwrap_or(0).into())
    }

    /// The machine, where the region is not one machine of the same name.
    fn other_host(&self) -> Option<&str> {
        self.row.host.as_deref().filter(|host| *host != self.row.region)
    }

    fn owner(&self) -> &str {
        self.row.owner.as_deref().unwrap_or("no owner")
    }

    fn last_error(&self) -> &str {
        self.row.last_error.as_deref().unwrap_or("")
    }
}

/// What is searched for.
#[derive(Deserialize)]
pub struct Search {
    #[serde(default)]
    q: String,
    /// Empty: all of them.
    #[serde(default)]
    region: String,
}

impl Search {
    fn text(&self) -> String {
        self.q.trim().chars().take(80).collect()
    }

    fn region(&self) -> Option<&str> {
        Some(self.region.as_str()).filter(|region| !region.is_empty())
    }
}

async fn load(app: &App, search: &Search) -> Result<Fleet, Problem> {
    let now = OffsetDateTime::now_utc();
    let rows = fleet::search(&app.pool, &search.text(), search.region(), MOST_ROWS).await?;
    let rows = rows.into_iter().map(|row| FleetView::new(row, now)).collect();
    Ok(Fleet { totals: fleet::totals(&app.pool, search.region()).await?, rows })
}

/// `GET /fleet`.
pub async fn show(
    State(app): State<App>,
    Operator(signed_in): Operator,
    Query(search): Query<Search>,
) -> Result<Response, Problem> {
    let fleet = load(&app, &search).await?;
    let regions = regions::list(&app.pool).await?;
    super::page(&FleetPage { frame: Frame::signed_in(&app, &signed_in, Here::Fleet), search, regions, fleet })
}

struct Watched {
    search: Search,
}

impl Patched for Watched {
    async fn fragments(&self, app: &App) -> Result<Fragments, Problem> {
        let fleet = load(app, &self.search).await?;
        Ok([
            ("fleet".to_owned(), super::render(&FleetTable { fleet: &fleet })?),
            ("totals".to_owned(), super::render(&FleetTotals { fleet: &fleet })?),
        ]
        .into())
    }
}

/// `GET /fleet/events`.
pub async fn watch(
    State(app): State<App>,
    Operator(signed_in): Operator,
    Query(search): Query<Search>,
) -> Result<Response, Problem> {
    events::stream(app, signed_in, Watched { search }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_s_text_is_escaped_on_the_operator_s_page() {
        let row = FleetRow {
            id: uuid::Uuid::nil(),
            name: "main".into(),
            label: "brave-otter-0a1b2c3d".into(),
            organisation: "<script>alert(1)</script>".into(),
            owner: None,
            region: "local".into(),
            host: None,
            plan: "medium".into(),
            spus: 3,
            created_at: OffsetDateTime::UNIX_EPOCH,
            paused_at: None,
            ready_at: None,
            deleted_at: None,
            state: Some("degraded".into()),
            spus_ready: Some(2),
            restarts: Some(4),
            last_error: Some("SPU main-1 exited with 137".into()),
            last_error_at: Some(OffsetDateTime::UNIX_EPOCH),
            partitions: Some(7),
            storage_bytes: Some(1 << 20),
            open: 12,
            bytes_in: 2048,
            bytes_out: 4096,
        };
        let view = FleetView::new(row, OffsetDateTime::UNIX_EPOCH);
        let totals = Totals { organisations: 1, clusters: 1, running: 0, troubled: 1, paused: 0 };
        let fleet = Fleet { totals, rows: vec![view] };
        let search = Search { q: "\"x".into(), region: "\"y".into() };
        let html = FleetPage { frame: Frame::bare(), search, regions: vec![], fleet }.render().unwrap();
        assert!(!html.contains("\"x") && !html.contains("\"y"));
        assert!(!html.contains("<script>alert") && html.contains("2/3") && html.contains("exited with 137"));
    }
}
