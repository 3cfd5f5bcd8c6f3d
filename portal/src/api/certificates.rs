//! Certificates and profiles.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::person::ApiCaller;
use crate::api::time;
use crate::app::App;
use crate::certificates::issue::{self, DEFAULT_SECONDS, Wanted};
use crate::certificates::{csr, pem};
use crate::clusters;
use crate::db::certificates::{self as rows, CertificateRow};
use crate::edge::errors::ProblemBody;
use crate::edge::json::JsonBody;
use crate::edge::once::Once;
use crate::problem::Problem;

/// A certificate signing request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// PKCS#10, PEM. Only its key and the proof of possession are taken.
    csr: String,
    /// The device, say; at most 120 characters.
    label: Option<String>,
    /// admin (clusters and topics) or user (produce and consume); admin when nothing is said.
    role: Option<String>,
    /// 60 to 31,536,000; 90 days when nothing is said.
    lifetime_seconds: Option<i64>,
}

/// A certificate with what its holder needs.
#[derive(Serialize, ToSchema)]
pub struct IssuedCertificate {
    id: Uuid,
    /// Hex.
    serial: String,
    /// PEM.
    certificate: String,
    /// The CA of the cluster's servers, PEM.
    ca: String,
    not_after: String,
    /// The entry of the access list.
    principal: Uuid,
    role: String,
}

/// A certificate in the list.
#[derive(Serialize, ToSchema)]
pub struct Certificate {
    id: Uuid,
    /// Hex.
    serial: String,
    label: String,
    role: Option<String>,
    created_at: String,
    not_after: String,
    revoked_at: Option<String>,
}

/// The client certificates of a cluster, newest first.
#[derive(Serialize, ToSchema)]
pub struct CertificateList {
    items: Vec<Certificate>,
}

/// What a client must know of a cluster, besides its own certificate.
#[derive(Serialize, ToSchema)]
pub struct Profile {
    /// A name for it.
    name: String,
    /// host:port of the gateway.
    endpoint: String,
    /// The TLS name.
    domain: String,
    /// The CA of the cluster's servers, PEM.
    ca: String,
}

impl Certificate {
    fn new(row: CertificateRow) -> Self {
        Certificate {
            id: row.id,
            serial: hex::encode(row.serial),
            label: row.label,
            role: row.role,
            created_at: time(row.created_at),
            not_after: time(row.not_after),
            revoked_at: row.revoked_at.map(time),
        }
    }
}

/// List a cluster's client certificates.
#[utoipa::path(get, path = "/clusters/{cluster}/certificates", tag = "certificates", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 200, body = CertificateList),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<Json<CertificateList>, Problem> {
    let organisation_id = caller.person.organisation_id;
    let cluster = clusters::find(&app, organisation_id, &cluster).await?;
    let found = rows::list(&app.pool, organisation_id, cluster.id).await?;
    Ok(Json(CertificateList { items: found.into_iter().map(Certificate::new).collect() }))
}

/// Get a client certificate for a key of one's own.
#[utoipa::path(post, path = "/clusters/{cluster}/certificates", tag = "certificates",
    request_body = NewCertificate, security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name"),
           ("Idempotency-Key" = Option<String>, Header, description = "A retry with it gets the first answer")),
    responses((status = 201, body = IssuedCertificate),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
    once: Once,
    JsonBody(new): JsonBody<NewCertificate>,
) -> Result<(StatusCode, Json<IssuedCertificate>), Problem> {
    let cluster = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    let role = new.role.unwrap_or_else(|| "admin".into());
    let wanted = Wanted {
        csr_der: csr::parse(&new.csr)?,
        label: new.label.as_deref().unwrap_or_default(),
        role: &role,
        lifetime_seconds: new.lifetime_seconds.unwrap_or(DEFAULT_SECONDS),
    };
    let issued = issue::issue(&app, &caller.person, &cluster, wanted, &once).await?;
    let answer = IssuedCertificate {
        id: issued.id,
        serial: issued.serial,
        certificate: issued.certificate,
        ca: issued.ca,
        not_after: time(issued.not_after),
        principal: issued.principal,
        role,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revoke a client certificate. Its connections are cut within a second.
#[utoipa::path(delete, path = "/clusters/{cluster}/certificates/{certificate}", tag = "certificates",
    security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name"), ("certificate" = Uuid, Path)),
    responses((status = 204),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn revoke(
    State(app): State<App>,
    caller: ApiCaller,
    Path((cluster, certificate)): Path<(String, Uuid)>,
) -> Result<StatusCode, Problem> {
    let cluster = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    issue::revoke(&app, &caller.person, &cluster, certificate).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a client must know of a cluster.
#[utoipa::path(get, path = "/clusters/{cluster}/profile", tag = "certificates", security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name")),
    responses((status = 200, body = Profile),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn profile(
    State(app): State<App>,
    caller: ApiCaller,
    Path(cluster): Path<String>,
) -> Result<Json<Profile>, Problem> {
    let organisation_id = caller.person.organisation_id;
    let cluster = clusters::find(&app, organisation_id, &cluster).await?;
    let ca = rows::server_ca(&app.pool, organisation_id, cluster.id).await?.ok_or_else(|| {
        Problem::conflict(
            format!("The cluster {} has no certificates yet.", cluster.name),
            "Wait until it is running and ask again.",
        )
    })?;
    Ok(Json(Profile {
        name: cluster.name,
        endpoint: cluster.endpoint,
        domain: cluster.domain,
        ca: pem::certificate(&ca),
    }))
}
