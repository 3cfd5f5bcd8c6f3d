//! The reading half.

use std::num::{NonZeroU32, NonZeroU64};

use cluster_settings::{AccessEntry, AccessList, Durability, Limits, Rates, Role, Rule, serial_text};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Answer, Details, Lease, Plan, Seen, StoreError, Wanted};
use crate::status::{State, Status};

/// The clusters that are this machine's, or could be.
pub async fn look(pool: &PgPool, region: &str, host: &str) -> Result<Vec<Seen>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT c.id, c.organisation_id, c.domain, c.spus, c.generation, c.deleted_at IS NOT NULL AS "deleted!",
                  c.plan, c.paused_at IS NOT NULL AS "paused!",
                  coalesce(c.purge_after <= now(), false) AS "purge_due!",
                  l.holder AS "holder?", l.token AS "token?", l.expires_at > now() AS live,
                  s.state AS "state?", s.reason AS "reason?", s.observed_generation AS "observed_generation?",
                  s.spus_ready AS "spus_ready?", s.partitions AS "partitions?", s.storage_bytes AS "storage_bytes?",
                  s.restarts AS "restarts?", s.last_error, s.ready_at IS NOT NULL AS "ready!",
                  ARRAY(SELECT server_name FROM cluster_backends b WHERE b.cluster_id = c.id ORDER BY server_name) AS "names!",
                  ARRAY(SELECT address FROM cluster_backends b WHERE b.cluster_id = c.id ORDER BY server_name) AS "addresses!"
           FROM clusters c
           LEFT JOIN leases l ON l.cluster_id = c.id
           LEFT JOIN cluster_status s ON s.cluster_id = c.id
           WHERE c.runtime = 'process' AND c.region = $1 AND (c.host = $2 OR c.host IS NULL)"#,
        region,
        host
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let status = match row.state.as_deref() {
                None => None,
                Some(state) => Some(Status {
                    state: State::parse(state).ok_or(StoreError::Row("cluster_status.state"))?,
                    reason: row.reason.unwrap_or_default(),
                    observed_generation: row.observed_generation.unwrap_or_default(),
                    spus_ready: row.spus_ready.unwrap_or_default(),
                    partitions: row.partitions.unwrap_or_default(),
                    storage_bytes: row.storage_bytes.unwrap_or_default(),
                    restarts: row.restarts.unwrap_or_default(),
                    last_error: row.last_error,
                    ready: row.ready,
                }),
            };
            let lease = row.holder.zip(row.token).map(|(holder, token)| Lease { holder, token });
            Ok(Seen {
                wanted: Wanted {
                    cluster: row.id,
                    tenant: row.organisation_id,
                    domain: row.domain,
                    spus: u8::try_from(row.spus).map_err(|_| StoreError::Row("clusters.spus"))?,
                    plan: Plan::parse(&row.plan).ok_or(StoreError::Row("clusters.plan"))?,
                    paused: row.paused,
                    generation: row.generation,
                    deleted: row.deleted,
                    purge_due: row.purge_due,
                },
                lease: lease.map(|lease| (lease, row.live.unwrap_or_default())),
                status,
                backends: row.names.into_iter().zip(row.addresses).collect(),
            })
        })
        .collect()
}

/// Which of these clusters exist, on whatever machine.
pub async fn existing(pool: &PgPool, clusters: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT id FROM clusters WHERE id = ANY($1)", clusters);
    Ok(rows.fetch_all(pool).await?)
}

/// Reads what goes into the settings; `None` when the cluster is gone. An entry of a certificate's own goes with it, so that
/// the list does not grow with every certificate that ever was.
pub async fn details(pool: &PgPool, cluster: Uuid) -> Result<Option<Details>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT c.generation, c.organisation_id, c.domain, c.durability, c.max_storage_bytes, c.max_partitions,
                  c.max_connections, c.max_message_bytes, c.rate_bytes_in, c.rate_bytes_out, c.rate_requests,
                  c.principal_bytes_in, c.principal_bytes_out, c.principal_requests, c.principal_connections,
                  e.principals AS "principals!", e.roles AS "roles!: Vec<Option<String>>",
                  e.rules AS "rules!: Vec<Option<String>>",
                  ARRAY(SELECT serial FROM certificates k WHERE k.cluster_id = c.id AND k.kind = 'client'
                        AND k.revoked_at IS NOT NULL AND k.not_after > now() ORDER BY serial) AS "revoked!",
                  (SELECT certificate_der FROM certificate_authorities a
                   WHERE a.cluster_id = c.id AND a.purpose = 'client') AS client_ca,
                  (SELECT certificate_der FROM certificate_authorities a
                   WHERE a.cluster_id = c.id AND a.purpose = 'server') AS server_ca
           FROM clusters c CROSS JOIN LATERAL (
             SELECT coalesce(array_agg(a.principal_id ORDER BY a.principal_id), '{}') AS principals,
                    coalesce(array_agg(a.role ORDER BY a.principal_id), '{}') AS roles,
                    coalesce(array_agg(a.rules::text ORDER BY a.principal_id), '{}') AS rules
             FROM access_entries a
             WHERE a.cluster_id = c.id AND a.revoked_at IS NULL AND (NOT a.own
               OR EXISTS (SELECT 1 FROM certificate_requests r
                          WHERE r.principal_id = a.principal_id AND r.state = 'pending')
               OR EXISTS (SELECT 1 FROM certificates k WHERE k.principal_id = a.principal_id
                          AND k.revoked_at IS NULL AND k.not_after > now()))) e
           WHERE c.id = $1"#,
        cluster
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let rights = row.roles.into_iter().zip(row.rules);
    let entries = row.principals.into_iter().zip(rights).map(|(principal, rights)| entry(principal, rights));
    Ok(Some(Details {
        generation: row.generation,
        tenant: row.organisation_id,
        domain: row.domain,
        durability: match row.durability.as_str() {
            "disk" => Durability::Disk,
            "memory" => Durability::Memory,
            _ => return Err(StoreError::Row("clusters.durability")),
        },
        limits: Limits {
            storage_bytes: row.max_storage_bytes.unsigned_abs(),
            partitions: row.max_partitions.unsigned_abs(),
            connections: row.max_connections.unsigned_abs(),
            message_bytes: row.max_message_bytes.unsigned_abs(),
            rates: rates(row.rate_bytes_in, row.rate_bytes_out, row.rate_requests),
            principal_rates: rates(row.principal_bytes_in, row.principal_bytes_out, row.principal_requests),
            principal_connections: row.principal_connections.map(i32::unsigned_abs),
        },
        access: AccessList {
            entries: entries.collect::<Result<_, _>>()?,
            revoked_serials: row.revoked.iter().map(|serial| serial_text(serial)).collect(),
        },
        client_ca: row.client_ca,
        server_ca: row.server_ca,
    }))
}

/// Rates from their columns, which hold numbers above 0.
fn rates(bytes_in: Option<i64>, bytes_out: Option<i64>, requests: Option<i32>) -> Rates {
    let bytes = |rate: Option<i64>| rate.and_then(|rate| NonZeroU64::new(rate.unsigned_abs()));
    Rates {
        bytes_in_per_second: bytes(bytes_in),
        bytes_out_per_second: bytes(bytes_out),
        requests_per_second: requests.and_then(|rate| NonZeroU32::new(rate.unsigned_abs())),
    }
}

/// An entry of the access list from a row's role and rules, of which it has one.
fn entry(
    principal: Uuid,
    (role, rules): (Option<String>, Option<String>),
) -> Result<AccessEntry, StoreError> {
    let (role, rules) = match (role.as_deref(), rules) {
        (Some("admin"), None) => (Role::Admin, None),
        (Some("user"), None) => (Role::User, None),
        (None, Some(rules)) => {
            let rules: Vec<Rule> =
                serde_json::from_str(&rules).map_err(|_| StoreError::Row("access_entries.rules"))?;
            // The role counts for nothing beside rules; the document has one in every entry.
            (Role::User, Some(rules))
        }
        _ => return Err(StoreError::Row("access_entries.role")),
    };
    Ok(AccessEntry { principal, role, rules })
}

/// What became of a request.
pub async fn answer(pool: &PgPool, request: Uuid) -> Result<Answer, StoreError> {
    let mut answers = answers(pool, &[request]).await?;
    Ok(answers.pop().map_or(Answer::Unknown, |(_, answer)| answer))
}

/// What became of these requests, each with its id.
pub async fn answers(pool: &PgPool, requests: &[Uuid]) -> Result<Vec<(Uuid, Answer)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT r.id AS "id!", r.state AS "state!", r.refusal, c.certificate_der, c.not_after AS "not_after?"
           FROM certificate_requests r LEFT JOIN certificates c ON c.request_id = r.id WHERE r.id = ANY($1)"#,
        requests
    )
    .fetch_all(pool)
    .await?;
    let mut answers: Vec<(Uuid, Answer)> = requests.iter().map(|id| (*id, Answer::Unknown)).collect();
    for row in rows {
        let answer = match (row.state.as_str(), row.certificate_der.zip(row.not_after)) {
            ("issued", Some((certificate, not_after))) => Answer::Issued { certificate, not_after },
            ("refused", _) => Answer::Refused(row.refusal.unwrap_or_default()),
            _ => Answer::Pending,
        };
        answers.iter_mut().filter(|(id, _)| *id == row.id).for_each(|(_, known)| *known = answer.clone());
    }
    Ok(answers)
}

/// Which of these requests are answered.
pub async fn answered(pool: &PgPool, requests: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM certificate_requests WHERE id = ANY($1) AND state <> 'pending'",
        requests
    );
    Ok(rows.fetch_all(pool).await?)
}

/// The certificate of one of a cluster's CAs, once the signer has made it.
pub async fn authority(pool: &PgPool, cluster: Uuid, purpose: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query_scalar!(
        "SELECT certificate_der FROM certificate_authorities WHERE cluster_id = $1 AND purpose = $2",
        cluster,
        purpose
    );
    Ok(row.fetch_optional(pool).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_role_or_rules_and_anything_else_is_a_fault() {
        let row = |role: Option<&str>, rules: Option<&str>| {
            entry(Uuid::nil(), (role.map(str::to_owned), rules.map(str::to_owned)))
        };
        let rules = r#"[{"topics":"orders-*","rights":["produce"]}]"#;
        let found = row(None, Some(rules)).unwrap();
        assert_eq!(found.rules, Some(vec!["produce:orders-*".parse().unwrap()]));
        assert_eq!(row(Some("admin"), None).unwrap().rules, None);
        assert_eq!(row(Some("admin"), None).unwrap().role, Role::Admin);
        assert_eq!(row(Some("user"), None).unwrap().role, Role::User);
        for (role, rules) in [
            (None, None),
            (Some("owner"), None),
            (Some("user"), Some(rules)),
            (None, Some("{}")),
            (None, Some(r#"[{"topics":"Orders","rights":["produce"]}]"#)),
            (None, Some(r#"[{"topics":"orders","rights":["all"]}]"#)),
        ] {
            assert!(row(role, rules).is_err(), "{role:?} {rules:?}");
        }
    }
}
