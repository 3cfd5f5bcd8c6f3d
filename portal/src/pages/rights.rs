//! What a certificate opens, chosen: for a profile to download, and later for a certificate that exists.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use cluster_settings::Role;
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::certificates::rights::Rights;
use crate::certificates::{issue, profile};
use crate::clusters;
use crate::db::access::{self, EntryRow};
use crate::db::clusters::ClusterRow;
use crate::edge::form::ProtectedForm;
use crate::pages::certificates::words;
use crate::pages::frame::{Frame, Here};
use crate::pages::view::Fault;
use crate::problem::Problem;

/// The label of certificates whose key was made for a download.
const DOWNLOAD_LABEL: &str = "profile downloaded from the portal";

/// The form's fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// A role, or `rules`.
    #[serde(default = "everything")]
    rights: String,
    /// One rule a line; read only when they are chosen.
    #[serde(default)]
    rules: String,
}

fn everything() -> String {
    "admin".into()
}

impl Fields {
    fn of(rights: &Rights) -> Self {
        let rules = if rights.rules().is_some() { words(rights).join("\n") } else { String::new() };
        Fields { rights: rights.role().unwrap_or("rules").into(), rules }
    }

    fn read(&self) -> Result<Rights, Problem> {
        if self.rights == "rules" {
            let lines = self.rules.lines().map(str::trim).filter(|line| !line.is_empty());
            return Rights::of_rules(lines);
        }
        Rights::of_role(&self.rights)
    }

    /// Whether this choice is the one.
    fn chosen(&self, choice: &str) -> bool {
        self.rights == choice
    }
}

/// What the page is about.
enum About {
    /// A profile that does not exist yet.
    NewProfile,
    /// A certificate: its id, its label, and how many others share its rights.
    Certificate { id: Uuid, label: String, others: i64 },
}

#[derive(Template)]
#[template(path = "rights.html")]
struct RightsPage {
    frame: Frame,
    csrf: String,
    cluster: ClusterRow,
    about: About,
    fields: Fields,
    fault: Fault,
}

fn form(app: &App, signed_in: &SignedIn, cluster: ClusterRow, about: About, fields: Fields) -> RightsPage {
    RightsPage {
        frame: Frame::signed_in(app, signed_in, Here::Clusters),
        csrf: signed_in.form_token.clone(),
        cluster,
        about,
        fields,
        fault: Fault::none(),
    }
}

/// The form again, with what was typed and what is wrong with it; any other problem as it is.
fn again(page: RightsPage, problem: Problem) -> Result<Response, Problem> {
    match problem {
        Problem::Invalid { .. } | Problem::Conflict { .. } => {
            super::refused(&RightsPage { fault: Fault::of(&problem), ..page }, &problem)
        }
        problem => Err(problem),
    }
}

/// `GET /clusters/{id}/profile`.
pub async fn new_profile(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let cluster = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    let fields = Fields::of(&Rights::Role(Role::Admin));
    super::page(&form(&app, &signed_in, cluster, About::NewProfile, fields))
}

/// `POST /clusters/{id}/profile`: a profile file with a new key, handed out once.
pub async fn download(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let cluster = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    let rights = match fields.read() {
        Ok(rights) => rights,
        Err(problem) => return again(form(&app, &signed_in, cluster, About::NewProfile, fields), problem),
    };
    let config = profile::make(&app, &signed_in.person, &cluster, DOWNLOAD_LABEL, rights).await?;
    let mut response = profile::file(&cluster.name, &config)?.into_response();
    // The name has letters, digits and hyphens only, so it needs no quoting rules.
    let disposition = format!("attachment; filename=\"fluvio-{}.toml\"", cluster.name);
    let disposition = HeaderValue::try_from(disposition).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/toml"));
    Ok(response)
}

async fn living(
    app: &App,
    organisation_id: Uuid,
    cluster: &ClusterRow,
    id: Uuid,
) -> Result<EntryRow, Problem> {
    let entry = access::of_certificate(&app.pool, organisation_id, cluster.id, id).await?;
    let lives = |entry: &EntryRow| entry.revoked_at.is_none() && entry.not_after > OffsetDateTime::now_utc();
    entry.filter(lives).ok_or(Problem::Missing("certificate"))
}

fn about(id: Uuid, entry: &EntryRow) -> About {
    let label = if entry.label.is_empty() { "no label".into() } else { entry.label.clone() };
    About::Certificate { id, label, others: entry.certificates - 1 }
}

/// `GET /clusters/{id}/rights/{certificate}`.
pub async fn show(
    State(app): State<App>,
    signed_in: SignedIn,
    Path((id, certificate)): Path<(String, Uuid)>,
) -> Result<Response, Problem> {
    let organisation_id = signed_in.person.organisation_id;
    let cluster = clusters::find(&app, organisation_id, &id).await?;
    let entry = living(&app, organisation_id, &cluster, certificate).await?;
    let fields = entry.rights().as_ref().map_or_else(|| Fields::of(&Rights::Role(Role::User)), Fields::of);
    super::page(&form(&app, &signed_in, cluster, about(certificate, &entry), fields))
}

/// `POST /clusters/{id}/rights/{certificate}`.
pub async fn submit(
    State(app): State<App>,
    signed_in: SignedIn,
    Path((id, certificate)): Path<(String, Uuid)>,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let organisation_id = signed_in.person.organisation_id;
    let cluster = clusters::find(&app, organisation_id, &id).await?;
    let entry = living(&app, organisation_id, &cluster, certificate).await?;
    let changed = match fields.read() {
        Ok(rights) => issue::change_rights(&app, &signed_in.person, &cluster, certificate, &rights).await,
        Err(problem) => Err(problem),
    };
    match changed {
        Ok(_) => Ok(Redirect::to(&format!("/clusters/{}#certificates", cluster.id)).into_response()),
        Err(problem) => again(form(&app, &signed_in, cluster, about(certificate, &entry), fields), problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::state::tests::row;

    fn fields(rights: &str, rules: &str) -> Fields {
        Fields { rights: rights.into(), rules: rules.into() }
    }

    #[test]
    fn a_form_is_read_as_it_was_filled_in() {
        assert_eq!(
            fields("admin", "produce:a").read().unwrap().role(),
            Some("admin"),
            "rules are not chosen"
        );
        let rights = fields("rules", "\r\n produce:orders-* \r\n\r\nconsume:a\r\n").read().unwrap();
        assert_eq!(words(&rights), ["produce:orders-*", "consume:a"]);
        assert_eq!(Fields::of(&rights).rules, "produce:orders-*\nconsume:a");
        for (choice, rules) in [("rules", " \n"), ("rules", "orders"), ("everything", "")] {
            assert!(fields(choice, rules).read().is_err(), "{choice} {rules}");
        }
    }

    #[test]
    fn a_refused_form_keeps_what_was_typed_and_says_what_is_wrong() {
        let typed = fields("rules", "write:orders");
        let problem = typed.read().unwrap_err();
        let page = RightsPage {
            frame: Frame::bare(),
            csrf: "token".into(),
            cluster: row(),
            about: About::Certificate { id: Uuid::nil(), label: "press".into(), others: 2 },
            fields: typed,
            fault: Fault::of(&problem),
        };
        let html = page.render().unwrap();
        for part in
            ["write:orders</textarea>", "is not a right", "aria-invalid=\"true\"", "2 other certificates"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
