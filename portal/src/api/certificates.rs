//! Certificates and profiles.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cluster_settings::{Role, Rule};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::person::ApiCaller;
use crate::api::time;
use crate::app::App;
use crate::certificates::issue::{self, DEFAULT_SECONDS, Wanted};
use crate::certificates::rights::Rights;
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
    /// admin (clusters and topics) or user (produce and consume), on every topic; admin when nothing is said.
    role: Option<String>,
    /// In place of a role: 1 to 64 rules. Only what one of them gives is allowed.
    rules: Option<Vec<RuleBody>>,
    /// 60 to 31,536,000; 90 days when nothing is said.
    lifetime_seconds: Option<i64>,
}

/// Rights on some topics.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    /// A topic's name, a prefix of names with * behind it, or * for every topic.
    topics: String,
    /// produce, consume, admin (create, change, delete).
    rights: Vec<String>,
}

/// Other rights for a certificate, one of the two. All certificates of its principal get them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightsChange {
    /// admin or user, on every topic.
    role: Option<String>,
    /// 1 to 64 rules.
    rules: Option<Vec<RuleBody>>,
}

/// The rights of a certificate's principal.
#[derive(Serialize, ToSchema)]
pub struct PrincipalRights {
    /// The entry of the access list.
    principal: Uuid,
    /// admin or user, if there are no rules.
    role: Option<&'static str>,
    rules: Option<Vec<RuleBody>>,
    /// Living certificates that have these rights.
    certificates: i64,
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
    /// admin or user, if there are no rules.
    role: Option<&'static str>,
    rules: Option<Vec<RuleBody>>,
}

/// A certificate in the list.
#[derive(Serialize, ToSchema)]
pub struct Certificate {
    id: Uuid,
    /// Hex.
    serial: String,
    label: String,
    /// The entry of the access list; certificates with the same one have the same rights.
    principal: Option<Uuid>,
    /// admin or user, if there are no rules.
    role: Option<&'static str>,
    rules: Option<Vec<RuleBody>>,
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

impl RuleBody {
    /// As it is written elsewhere.
    fn text(&self) -> String {
        format!("{}:{}", self.rights.join(","), self.topics)
    }

    fn all_of(rights: &Rights) -> Option<Vec<Self>> {
        let body = |rule: &Rule| RuleBody {
            topics: rule.topics.to_string(),
            rights: rule.rights.iter().map(|right| right.name().to_owned()).collect(),
        };
        Some(rights.rules()?.iter().map(body).collect())
    }
}

/// The rights that a body asks for; `None` if it asks for none.
fn rights(role: Option<&str>, rules: Option<&[RuleBody]>) -> Result<Option<Rights>, Problem> {
    match (role, rules) {
        (Some(_), Some(_)) => {
            let detail = "A certificate has a role or rules, not both.";
            Err(Problem::invalid("rules", detail, "Leave one of the two out."))
        }
        (Some(role), None) => Rights::of_role(role).map(Some),
        (None, Some(rules)) => {
            let texts: Vec<String> = rules.iter().map(RuleBody::text).collect();
            Rights::of_rules(texts.iter().map(String::as_str)).map(Some)
        }
        (None, None) => Ok(None),
    }
}

impl Certificate {
    fn new(row: CertificateRow) -> Self {
        let rights = row.rights();
        Certificate {
            id: row.id,
            serial: hex::encode(row.serial),
            label: row.label,
            principal: row.principal,
            role: rights.as_ref().and_then(Rights::role),
            rules: rights.as_ref().and_then(RuleBody::all_of),
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
    let rights = rights(new.role.as_deref(), new.rules.as_deref())?.unwrap_or(Rights::Role(Role::Admin));
    let wanted = Wanted {
        csr_der: csr::parse(&new.csr)?,
        label: new.label.as_deref().unwrap_or_default(),
        rights: rights.clone(),
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
        role: rights.role(),
        rules: RuleBody::all_of(&rights),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Change what a client certificate opens, without a new one. It acts within a second, on living connections too.
#[utoipa::path(patch, path = "/clusters/{cluster}/certificates/{certificate}", tag = "certificates",
    request_body = RightsChange, security(("bearer" = [])),
    params(("cluster" = String, Path, description = "id or name"), ("certificate" = Uuid, Path)),
    responses((status = 200, body = PrincipalRights),
              (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn change(
    State(app): State<App>,
    caller: ApiCaller,
    Path((cluster, certificate)): Path<(String, Uuid)>,
    JsonBody(wanted): JsonBody<RightsChange>,
) -> Result<Json<PrincipalRights>, Problem> {
    let cluster = clusters::find(&app, caller.person.organisation_id, &cluster).await?;
    let rights = rights(wanted.role.as_deref(), wanted.rules.as_deref())?
        .ok_or_else(|| Problem::invalid("rules", "There is nothing to change.", "Give a role or rules."))?;
    let entry = issue::change_rights(&app, &caller.person, &cluster, certificate, &rights).await?;
    Ok(Json(PrincipalRights {
        principal: entry.id,
        role: rights.role(),
        rules: RuleBody::all_of(&rights),
        certificates: entry.certificates,
    }))
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
