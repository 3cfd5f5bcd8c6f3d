//! `/fleet`: every tenant's clusters, for who runs the cloud.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use time::OffsetDateTime;

use crate::accounts::person::Operator;
use crate::app::App;
use crate::clusters::state::{self, State as ClusterState};
use crate::db::fleet::{self, FleetRow, Totals};
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
    query: String,
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
            state: state::of(row.deleted_at.is_some(), row.state.as_deref()),
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
}

impl Search {
    fn text(&self) -> String {
        self.q.trim().chars().take(80).collect()
    }
}

async fn load(app: &App, query: &str) -> Result<Fleet, Problem> {
    let now = OffsetDateTime::now_utc();
    let rows = fleet::search(&app.pool, query, MOST_ROWS).await?;
    let rows = rows.into_iter().map(|row| FleetView::new(row, now)).collect();
    Ok(Fleet { totals: fleet::totals(&app.pool).await?, rows })
}

/// `GET /fleet`.
pub async fn show(
    State(app): State<App>,
    Operator(signed_in): Operator,
    Query(search): Query<Search>,
) -> Result<Response, Problem> {
    let query = search.text();
    let fleet = load(&app, &query).await?;
    super::page(&FleetPage { frame: Frame::signed_in(&app, &signed_in, Here::Fleet), query, fleet })
}

struct Watched {
    query: String,
}

impl Patched for Watched {
    async fn fragments(&self, app: &App) -> Result<Fragments, Problem> {
        let fleet = load(app, &self.query).await?;
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
    let query = search.text();
    events::stream(app, signed_in, Watched { query }).await
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
            host: None,
            spus: 3,
            created_at: OffsetDateTime::UNIX_EPOCH,
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
        let totals = Totals { organisations: 1, clusters: 1, running: 0, troubled: 1 };
        let fleet = Fleet { totals, rows: vec![view] };
        let html = FleetPage { frame: Frame::bare(), query: "\"x".into(), fleet }.render().unwrap();
        assert!(!html.contains("<script>alert") && html.contains("2/3") && html.contains("exited with 137"));
    }
}
