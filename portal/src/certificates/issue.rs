//! Asking the signer for a client certificate and waiting for its answer.

use std::time::Duration;

use serde_json::json;
use sqlx::types::Json;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::accounts::person::Person;
use crate::app::App;
use crate::certificates::pem;
use crate::certificates::rights::Rights;
use crate::clusters::state::State;
use crate::db::access::{self, EntryRow};
use crate::db::audit::{self, Outcome};
use crate::db::certificates::{self as rows, Answer};
use crate::db::clusters::{self, ClusterRow};
use crate::edge::once::Once;
use crate::problem::Problem;

/// How long a client certificate lives when nothing is said: a client that cannot renew works for 90 days.
pub const DEFAULT_SECONDS: i64 = 90 * 24 * 3600;
/// The longest and the shortest life.
const LIFETIMES: std::ops::RangeInclusive<i64> = 60..=365 * 24 * 3600;
/// How long the signer may take.
const SIGNER_PATIENCE: Duration = Duration::from_secs(10);
/// A notification that was missed costs no more than this.
const POLL: Duration = Duration::from_millis(250);
/// How long to wait until the cluster knows its new principal.
const IN_FORCE_PATIENCE: Duration = Duration::from_secs(3);
/// Living certificates of a cluster.
const MOST: i64 = 1_000;

/// What is asked for.
pub struct Wanted<'a> {
    /// The request, DER.
    pub csr_der: Vec<u8>,
    /// The device, say.
    pub label: &'a str,
    /// What it opens.
    pub rights: Rights,
    /// Its life.
    pub lifetime_seconds: i64,
}

/// A certificate with what its holder needs.
pub struct Issued {
    /// Its id.
    pub id: Uuid,
    /// Its serial number, hex.
    pub serial: String,
    /// Itself, PEM.
    pub certificate: String,
    /// The CA of the cluster's servers, PEM.
    pub ca: String,
    /// Its end.
    pub not_after: OffsetDateTime,
    /// The entry of the access list.
    pub principal: Uuid,
}

/// Asks the signer, waits for its answer, and until the cluster knows the principal.
pub async fn issue(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    wanted: Wanted<'_>,
    once: &Once,
) -> Result<Issued, Problem> {
    check(cluster, &wanted)?;
    let seen = app.live.now();
    let request = match once {
        Once::Again(request) => *request,
        _ => ask(app, person, cluster, wanted, once).await?,
    };
    let issued = wait_for_answer(app, request, seen).await?;
    wait_until_in_force(app, person.organisation_id, cluster.id).await?;
    Ok(issued)
}

/// Puts the request before the signer; its id.
async fn ask(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    wanted: Wanted<'_>,
    once: &Once,
) -> Result<Uuid, Problem> {
    let mut tx = app.pool.begin().await?;
    if rows::count(&mut *tx, person.organisation_id, cluster.id).await? >= MOST {
        let detail = format!("The cluster has {MOST} living certificates.");
        return Err(Problem::conflict(detail, "Revoke those that are no longer used."));
    }
    let principal = match &wanted.rights {
        Rights::Rules(rules) => access::own(&mut *tx, cluster.id, person.user_id, rules).await?,
        Rights::Role(_) => {
            let role = wanted.rights.role().unwrap_or_default();
            access::shared(&mut tx, cluster.id, person.user_id, role).await?
        }
    };
    let request = rows::request(
        &mut *tx,
        cluster.id,
        principal,
        wanted.label,
        &wanted.csr_der,
        wanted.lifetime_seconds,
    )
    .await?;
    once.note_made(&mut tx, request).await?;
    let detail = json!({ "cluster": cluster.id, "label": wanted.label, "rights": wanted.rights.told() });
    let object = request.to_string();
    audit::record(&mut *tx, &person.actor, "certificate.request", &object, Outcome::Done, detail).await?;
    tx.commit().await?;
    Ok(request)
}

fn check(cluster: &ClusterRow, wanted: &Wanted<'_>) -> Result<(), Problem> {
    if matches!(cluster.state_now(), State::Deleting | State::Deleted) {
        return Err(Problem::conflict(
            format!("The cluster {} is deleted.", cluster.name),
            "Undelete it first, or choose another cluster.",
        ));
    }
    if !LIFETIMES.contains(&wanted.lifetime_seconds) {
        let detail = "A certificate lives 60 seconds to 365 days.";
        return Err(Problem::invalid("lifetime_seconds", detail, "Give a number of seconds in that range."));
    }
    if wanted.label.chars().count() > 120 || wanted.label.chars().any(char::is_control) {
        let detail = "The label is longer than 120 characters or not printable.";
        return Err(Problem::invalid("label", detail, "Name the device, such as ada-laptop."));
    }
    Ok(())
}

async fn wait_for_answer(app: &App, request: Uuid, seen: crate::live::Moment) -> Result<Issued, Problem> {
    let deadline = Instant::now() + SIGNER_PATIENCE;
    let mut changes = app.live.since(seen);
    while Instant::now() < deadline {
        if let Some(issued) = read_answer(rows::answer(&app.pool, request).await?)? {
            return Ok(issued);
        }
        changes.wait_at_most(POLL).await;
    }
    Err(Problem::Unavailable {
        detail: "The certificate authority did not answer in time. Certificates that exist keep working.",
        retry_after: 10,
    })
}

/// `None`: not answered yet.
fn read_answer(answer: Answer) -> Result<Option<Issued>, Problem> {
    if answer.state == "refused" {
        let detail = answer.refusal.unwrap_or_else(|| "The request was refused.".into());
        let fix = "Make a new P-256 key and a request for it, such as `fluvio cloud login` does.";
        return Err(Problem::invalid("csr", detail, fix));
    }
    let Answer { principal, id, serial, certificate_der, not_after, server_ca_der, .. } = answer;
    let parts = (principal, id, serial, certificate_der, not_after, server_ca_der);
    let (Some(principal), Some(id), Some(serial), Some(certificate), Some(not_after), Some(ca)) = parts
    else {
        return Ok(None);
    };
    Ok(Some(Issued {
        id,
        serial: hex::encode(serial),
        certificate: pem::certificate(&certificate),
        ca: pem::certificate(&ca),
        not_after,
        principal,
    }))
}

/// A certificate that is handed out should open the cluster at once, so the access list's arrival is waited for.
/// A cluster that is not running yet gets the list when it starts.
async fn wait_until_in_force(app: &App, organisation_id: Uuid, cluster_id: Uuid) -> Result<(), Problem> {
    let deadline = Instant::now() + IN_FORCE_PATIENCE;
    let mut changes = app.live.since(app.live.now());
    while Instant::now() < deadline {
        let Some(found) = clusters::generations(&app.pool, organisation_id, cluster_id).await? else { break };
        let running = found.state.as_deref() == Some("running");
        if !running || found.observed.is_some_and(|observed| observed >= found.wanted) {
            break;
        }
        changes.wait_at_most(POLL).await;
    }
    Ok(())
}

/// Gives the principal of a certificate other rights, and waits until the cluster knows. They act on living connections.
pub async fn change_rights(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    id: Uuid,
    rights: &Rights,
) -> Result<EntryRow, Problem> {
    let mut tx = app.pool.begin().await?;
    let entry = access::of_certificate(&mut *tx, person.organisation_id, cluster.id, id).await?;
    let mut entry = entry.ok_or(Problem::Missing("certificate"))?;
    if entry.revoked_at.is_some() || entry.not_after <= OffsetDateTime::now_utc() {
        return Err(Problem::conflict(
            "The certificate is revoked or has ended, so that it has no rights.",
            "Make a new certificate with the rights that are wanted.",
        ));
    }
    let before = entry.rights();
    if before.as_ref() != Some(rights) {
        access::change(&mut *tx, cluster.id, entry.id, rights).await?;
        let from = before.as_ref().map(Rights::told);
        let detail =
            json!({ "cluster": cluster.id, "principal": entry.id, "from": from, "to": rights.told() });
        let object = id.to_string();
        audit::record(&mut *tx, &person.actor, "certificate.rights", &object, Outcome::Done, detail).await?;
    }
    tx.commit().await?;
    wait_until_in_force(app, person.organisation_id, cluster.id).await?;
    entry.role = rights.role().map(str::to_owned);
    entry.rules = rights.rules().map(|rules| Json(rules.to_vec()));
    Ok(entry)
}

/// Revokes a certificate: the cluster cuts its connections within a second.
pub async fn revoke(app: &App, person: &Person, cluster: &ClusterRow, id: Uuid) -> Result<(), Problem> {
    let mut tx = app.pool.begin().await?;
    let serial = rows::revoke(&mut *tx, person.organisation_id, cluster.id, id, person.user_id)
        .await?
        .ok_or(Problem::Missing("certificate"))?;
    let detail = json!({ "cluster": cluster.id, "serial": hex::encode(serial) });
    let object = id.to_string();
    audit::record(&mut *tx, &person.actor, "certificate.revoke", &object, Outcome::Done, detail).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::state::tests::row;

    fn answer(state: &str) -> Answer {
        Answer {
            state: state.into(),
            principal: Some(Uuid::nil()),
            refusal: None,
            id: None,
            serial: None,
            certificate_der: None,
            not_after: None,
            server_ca_der: None,
        }
    }

    #[test]
    fn an_answer_is_waited_for_until_the_signed_certificate_is_there() {
        assert!(read_answer(answer("pending")).unwrap().is_none());
        let unsigned = Answer { id: Some(Uuid::nil()), serial: Some(vec![1; 8]), ..answer("pending") };
        assert!(read_answer(unsigned).unwrap().is_none());
        let signed = Answer {
            id: Some(Uuid::nil()),
            serial: Some(vec![0xab; 8]),
            certificate_der: Some(vec![0x30]),
            not_after: Some(OffsetDateTime::UNIX_EPOCH),
            server_ca_der: Some(vec![0x30]),
            ..answer("issued")
        };
        assert_eq!(read_answer(signed).unwrap().unwrap().serial, "abababababababab");
    }

    #[test]
    fn a_refusal_is_shown_in_the_signer_s_words() {
        let refused = Answer { refusal: Some("The key is RSA.".into()), ..answer("refused") };
        let Err(problem) = read_answer(refused) else { panic!("refused") };
        assert_eq!(problem.shown().detail, "The key is RSA.");
    }

    #[test]
    fn what_makes_no_sense_is_refused_before_the_signer_sees_it() {
        let rights = || Rights::of_role("admin").unwrap();
        let wanted =
            |label, lifetime_seconds| Wanted { csr_der: vec![], label, rights: rights(), lifetime_seconds };
        let long = "x".repeat(121);
        for (wanted, good) in [
            (wanted("laptop", 60), true),
            (wanted("", DEFAULT_SECONDS), true),
            (wanted(&long, 60), false),
            (wanted("a\nb", 60), false),
            (wanted("", 59), false),
            (wanted("", i64::MAX), false),
        ] {
            assert_eq!(check(&row(), &wanted).is_ok(), good);
        }
        let mut deleted = row();
        deleted.deleted_at = Some(OffsetDateTime::UNIX_EPOCH);
        assert!(check(&deleted, &wanted("", 60)).is_err());
    }
}
