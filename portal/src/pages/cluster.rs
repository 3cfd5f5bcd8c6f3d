//! `/clusters/{id}`: one cluster, live.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::clusters::{self, plans};
use crate::db::{certificates, usage};
use crate::live::events::{self, Fragments, Patched};
use crate::pages::certificates::CertificateView;
use crate::pages::chart::Traffic;
use crate::pages::frame::{Frame, Here};
use crate::pages::view::{ClusterView, Fault, PlanChoice};
use crate::pages::{principal_limits, remove};
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "cluster.html")]
struct ClusterPage<'a> {
    frame: Frame,
    cluster: ClusterView,
    certificates: Vec<CertificateView>,
    csrf: String,
    plans: Vec<PlanChoice>,
    spus: String,
    most_spus: i32,
    principals: principal_limits::Fields,
    fault: Fault,
    grace: String,
    public_url: &'a str,
    email: &'a str,
}

#[derive(Template)]
#[template(path = "part/state.html")]
struct StatePart<'a> {
    cluster: &'a ClusterView,
}

#[derive(Template)]
#[template(path = "part/traffic.html")]
struct TrafficPart<'a> {
    cluster: &'a ClusterView,
}

#[derive(Template)]
#[template(path = "part/limits.html")]
struct LimitsPart<'a> {
    cluster: &'a ClusterView,
}

#[derive(Template)]
#[template(path = "part/certificates.html")]
struct CertificatesPart<'a> {
    cluster: &'a ClusterView,
    certificates: &'a [CertificateView],
    csrf: &'a str,
}

async fn load(
    app: &App,
    organisation_id: Uuid,
    id: &str,
) -> Result<(ClusterView, Vec<CertificateView>), Problem> {
    let row = clusters::find(app, organisation_id, id).await?;
    let minutes = usage::last_hour(&app.pool, organisation_id, Some(row.id)).await?;
    let now = OffsetDateTime::now_utc();
    let issued = certificates::list(&app.pool, organisation_id, row.id).await?;
    let mut issued: Vec<_> = issued.into_iter().map(|row| CertificateView::new(row, now)).collect();
    // Those that open the cluster first; what is revoked stays to be seen below.
    issued.sort_by_key(|certificate| !certificate.lives());
    let traffic = Traffic::new(&minutes, None, now);
    Ok((ClusterView::new(row, traffic, now), issued))
}

/// `GET /clusters/{id}`.
pub async fn show(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    page(&app, &signed_in, &id, Asked::default()).await
}

/// What somebody asked for that could not be done, to be shown where it was asked.
pub struct Asked {
    /// The plan.
    pub plan: Option<String>,
    /// The number of SPUs, as typed.
    pub spus: Option<String>,
    /// The limits of each principal, as typed.
    pub principals: Option<principal_limits::Fields>,
    /// Why not.
    pub fault: Fault,
}

impl Default for Asked {
    fn default() -> Self {
        Asked { plan: None, spus: None, principals: None, fault: Fault::none() }
    }
}

/// The cluster's page.
pub async fn page(app: &App, signed_in: &SignedIn, id: &str, asked: Asked) -> Result<Response, Problem> {
    let (cluster, certificates) = load(app, signed_in.person.organisation_id, id).await?;
    let now = plans::named(&cluster.row.plan)?;
    let chosen = asked.plan.as_deref().unwrap_or(now.name);
    super::page(&ClusterPage {
        frame: Frame::signed_in(app, signed_in, Here::Clusters),
        plans: now.and_larger().map(|plan| PlanChoice::new(plan, chosen)).collect(),
        spus: asked.spus.unwrap_or_else(|| cluster.row.spus.to_string()),
        // A cluster from before the plans may have more than any gives.
        most_spus: plans::ALL.iter().map(|plan| plan.spus).fold(cluster.row.spus, i32::max),
        principals: asked
            .principals
            .unwrap_or_else(|| principal_limits::Fields::of(cluster.row.principal_limits())),
        fault: asked.fault,
        cluster,
        certificates,
        csrf: signed_in.form_token.clone(),
        grace: remove::grace(app.config.delete_grace_seconds),
        public_url: &app.config.public_url,
        email: &signed_in.person.email,
    })
}

struct Watched {
    organisation_id: Uuid,
    id: String,
    csrf: String,
}

impl Patched for Watched {
    async fn fragments(&self, app: &App) -> Result<Fragments, Problem> {
        let (cluster, certificates) = load(app, self.organisation_id, &self.id).await?;
        let cluster = &cluster;
        let certificates =
            super::render(&CertificatesPart { cluster, certificates: &certificates, csrf: &self.csrf })?;
        Ok([
            ("state".to_owned(), super::render(&StatePart { cluster })?),
            ("traffic".to_owned(), super::render(&TrafficPart { cluster })?),
            ("limits".to_owned(), super::render(&LimitsPart { cluster })?),
            ("certificates".to_owned(), certificates),
        ]
        .into())
    }
}

/// `GET /clusters/{id}/events`.
pub async fn watch(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let organisation_id = signed_in.person.organisation_id;
    let row = clusters::find(&app, organisation_id, &id).await?;
    let csrf = signed_in.form_token.clone();
    events::stream(app, signed_in, Watched { organisation_id, id: row.id.to_string(), csrf }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::state::tests::row;
    use crate::db::clusters::ClusterRow;

    fn page(state: Option<&str>) -> String {
        page_of(ClusterRow { state: state.map(Into::into), ..row() })
    }

    fn page_of(row: ClusterRow) -> String {
        let now = row.created_at + time::Duration::seconds(1);
        let traffic = Traffic::new(&[], None, now);
        let page = ClusterPage {
            frame: Frame::bare(),
            principals: principal_limits::Fields::of(row.principal_limits()),
            cluster: ClusterView::new(row, traffic, now),
            certificates: vec![],
            csrf: "token".into(),
            plans: plans::ALL.map(|plan| PlanChoice::new(plan, "small")).into(),
            spus: "1".into(),
            most_spus: 9,
            fault: Fault::none(),
            grace: "7 days".into(),
            public_url: "http://127.0.0.1:8080",
            email: "ada@example.com",
        };
        page.render().unwrap()
    }

    #[test]
    fn the_page_carries_the_state_the_endpoint_and_commands_with_real_values() {
        let html = page(Some("running"));
        for part in [
            "data-state=\"running\"",
            "id=\"endpoint\"",
            "127.0.0.1:9443",
            "fluvio cloud login --remote http://127.0.0.1:8080 --email ada@example.com --cluster main",
            "brave-otter-0a1b2c3d.fluvio.localhost",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }

    #[test]
    fn a_cluster_that_rests_says_so_and_can_be_resumed() {
        let state = |word: &str| Some(word.to_owned());
        let resting = ClusterRow { paused_at: Some(row().created_at), state: state("paused"), ..row() };
        let html = page_of(resting);
        assert!(html.contains("data-state=\"paused\"") && html.contains("/resume\""));
        assert!(html.contains("Its servers rest.") && !html.contains("pause-dialog"));
        let html = page_of(ClusterRow { state: state("running"), ..row() });
        assert!(html.contains("/pause\"") && !html.contains("/resume\""));
    }

    #[test]
    fn without_a_script_the_page_of_a_cluster_on_its_way_loads_itself_again() {
        assert!(page(None).contains("http-equiv=\"refresh\""));
        assert!(!page(Some("running")).contains("http-equiv=\"refresh\""));
    }
}
