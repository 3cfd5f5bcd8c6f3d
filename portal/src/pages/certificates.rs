//! A cluster's certificates: the list, revocation, and a profile to download.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::certificates::{issue, profile};
use crate::clusters;
use crate::db::certificates::CertificateRow;
use crate::edge::form::ProtectedForm;
use crate::pages::login::NoFields;
use crate::problem::Problem;
use crate::show::When;

/// The label of certificates whose key was made for a download.
const DOWNLOAD_LABEL: &str = "profile downloaded from the portal";

/// A certificate as pages show it.
#[derive(Debug, Clone)]
pub struct CertificateView {
    /// Its id.
    pub id: Uuid,
    /// Its serial number, hex.
    pub serial: String,
    /// The device.
    pub label: String,
    /// admin or user.
    pub role: String,
    /// Who asked for it.
    pub email: String,
    /// When.
    pub created: When,
    /// Its end.
    pub ends: When,
    /// When it was revoked.
    pub revoked: Option<When>,
    /// It is over.
    pub over: bool,
}

impl CertificateView {
    /// A row as it is shown now.
    pub fn new(row: CertificateRow, now: OffsetDateTime) -> Self {
        CertificateView {
            id: row.id,
            serial: hex::encode(row.serial),
            label: if row.label.is_empty() { "no label".into() } else { row.label },
            role: row.role.unwrap_or_else(|| "none".into()),
            email: row.email.unwrap_or_default(),
            created: When::new(row.created_at, now),
            ends: When::new(row.not_after, now),
            revoked: row.revoked_at.map(|at| When::new(at, now)),
            over: row.not_after <= now,
        }
    }

    /// Opens the cluster.
    pub fn lives(&self) -> bool {
        self.revoked.is_none() && !self.over
    }
}

/// `POST /clusters/{id}/certificates/{certificate}/revoke`.
pub async fn revoke(
    State(app): State<App>,
    signed_in: SignedIn,
    Path((id, certificate)): Path<(String, Uuid)>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    let cluster = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    issue::revoke(&app, &signed_in.person, &cluster, certificate).await?;
    Ok(Redirect::to(&format!("/clusters/{}#certificates", cluster.id)).into_response())
}

/// `POST /clusters/{id}/profile`: a profile file with a new key, handed out once.
pub async fn download(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(NoFields {}): ProtectedForm<NoFields>,
) -> Result<Response, Problem> {
    let cluster = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    let config = profile::make(&app, &signed_in.person, &cluster, DOWNLOAD_LABEL).await?;
    let mut response = profile::file(&cluster.name, &config)?.into_response();
    // The name has letters, digits and hyphens only, so it needs no quoting rules.
    let disposition = format!("attachment; filename=\"fluvio-{}.toml\"", cluster.name);
    let disposition = HeaderValue::try_from(disposition).map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/toml"));
    Ok(response)
}
