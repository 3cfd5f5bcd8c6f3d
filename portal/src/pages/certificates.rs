//! A cluster's certificates: the list, and revocation.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::certificates::issue;
use crate::certificates::rights::Rights;
use crate::clusters;
use crate::db::certificates::CertificateRow;
use crate::edge::form::ProtectedForm;
use crate::pages::login::NoFields;
use crate::problem::Problem;
use crate::show::When;

/// A certificate as pages show it.
#[derive(Debug, Clone)]
pub struct CertificateView {
    /// Its id.
    pub id: Uuid,
    /// Its serial number, hex.
    pub serial: String,
    /// The device.
    pub label: String,
    /// admin or user, or its rules.
    pub rights: Vec<String>,
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
        let rights = row.rights();
        CertificateView {
            id: row.id,
            serial: hex::encode(row.serial),
            label: if row.label.is_empty() { "no label".into() } else { row.label },
            rights: rights.as_ref().map_or_else(|| vec!["none".into()], words),
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

/// Rights, a line each.
pub fn words(rights: &Rights) -> Vec<String> {
    match rights.rules() {
        Some(rules) => rules.iter().map(ToString::to_string).collect(),
        None => rights.role().into_iter().map(str::to_owned).collect(),
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
