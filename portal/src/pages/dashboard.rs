//! `/clusters`: the organisation's clusters at a glance.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::db::clusters::{self, Filter};
use crate::db::usage;
use crate::live::events::{self, Fragments, Patched};
use crate::pages::chart::Traffic;
use crate::pages::frame::{Frame, Here};
use crate::pages::view::ClusterView;
use crate::problem::Problem;

/// Rows on the page; the API pages through more.
const MOST_ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    frame: Frame,
    clusters: Vec<ClusterView>,
    max_clusters: i32,
}

#[derive(Template)]
#[template(path = "part/cluster_table.html")]
struct Table<'a> {
    clusters: &'a [ClusterView],
}

impl Dashboard {
    fn living(&self) -> usize {
        self.clusters.iter().filter(|cluster| cluster.lives()).count()
    }

    fn passing(&self) -> bool {
        self.clusters.iter().any(|cluster| cluster.state.is_passing())
    }

    fn full(&self) -> bool {
        usize::try_from(self.max_clusters).is_ok_and(|most| self.living() >= most)
    }
}

async fn load(app: &App, organisation_id: Uuid) -> Result<Vec<ClusterView>, Problem> {
    let rows = clusters::list(&app.pool, organisation_id, Filter::default(), MOST_ROWS).await?;
    let minutes = usage::last_hour(&app.pool, organisation_id, None).await?;
    let now = OffsetDateTime::now_utc();
    let view = |row: clusters::ClusterRow| {
        let traffic = Traffic::new(&minutes, Some(row.id), now);
        ClusterView::new(row, traffic, now)
    };
    let mut views: Vec<ClusterView> = rows.into_iter().map(view).collect();
    views.sort_by_key(|view| !view.lives());
    Ok(views)
}

/// `GET /clusters`.
pub async fn show(State(app): State<App>, signed_in: SignedIn) -> Result<Response, Problem> {
    let clusters = load(&app, signed_in.person.organisation_id).await?;
    let frame = Frame::signed_in(&app, &signed_in, Here::Clusters);
    super::page(&Dashboard { frame, clusters, max_clusters: signed_in.person.max_clusters })
}

struct Watched {
    organisation_id: Uuid,
}

impl Patched for Watched {
    async fn fragments(&self, app: &App) -> Result<Fragments, Problem> {
        let clusters = load(app, self.organisation_id).await?;
        let table = super::render(&Table { clusters: &clusters })?;
        Ok([("clusters".to_owned(), table)].into())
    }
}

/// `GET /clusters/events`.
pub async fn watch(State(app): State<App>, signed_in: SignedIn) -> Result<Response, Problem> {
    let organisation_id = signed_in.person.organisation_id;
    events::stream(app, signed_in, Watched { organisation_id }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::state::tests::row;

    fn views() -> Vec<ClusterView> {
        let now = row().created_at + time::Duration::seconds(5);
        let traffic = Traffic::new(&[], None, now);
        let mut running = row();
        running.state = Some("running".into());
        let mut deleted = row();
        deleted.deleted_at = Some(now);
        deleted.purge_after = Some(now + time::Duration::days(7));
        [row(), running, deleted].map(|row| ClusterView::new(row, traffic.clone(), now)).into()
    }

    #[test]
    fn every_state_has_its_word_and_a_deleted_cluster_does_not_count() {
        let page = Dashboard { frame: Frame::bare(), clusters: views(), max_clusters: 2 };
        assert!(page.full() && page.passing());
        let html = page.render().unwrap();
        for word in ["data-state=\"creating\"", "data-state=\"running\"", "data-state=\"deleting\""] {
            assert!(html.contains(word), "{word}");
        }
    }

    #[test]
    fn an_empty_list_says_what_fills_it() {
        let html = Dashboard { frame: Frame::bare(), clusters: vec![], max_clusters: 2 }.render().unwrap();
        assert!(html.contains("fluvio cloud cluster create"));
    }
}
