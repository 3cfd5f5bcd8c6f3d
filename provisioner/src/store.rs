//! The rows that the provisioner reads and writes.
//!
//! Every write about a cluster names the lease under which it is made, holder and token, in the same statement,
//! and locks that lease while it writes: a provisioner whose lease was taken over changes nothing any more.

use std::collections::BTreeMap;

use cluster_settings::{AccessEntry, AccessList, Durability, Limits, Role, serial_text};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::status::{State, Status};

/// Seconds that a lease lasts without being renewed.
const LEASE_SECONDS: f64 = 30.0;

/// Why a statement did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away or refuses: later.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// Somebody else works on this cluster now: stop.
    #[error("the lease was lost")]
    Fenced,
    /// A row says what the schema does not allow.
    #[error("a row is not what the schema promises: {0}")]
    Row(&'static str),
}

/// The right to work on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// This provisioner.
    pub holder: Uuid,
    /// Grows with each taking.
    pub token: i64,
}

/// What a tenant wants of a cluster, as far as deciding needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The cluster.
    pub cluster: Uuid,
    /// The organisation that owns it.
    pub tenant: Uuid,
    /// Its TLS name.
    pub domain: String,
    /// How many SPUs.
    pub spus: u8,
    /// Grows with every change, access included.
    pub generation: i64,
    /// Deletion is wanted.
    pub deleted: bool,
    /// The time of grace is over.
    pub purge_due: bool,
}

/// A cluster as a look finds it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What is wanted.
    pub wanted: Wanted,
    /// Who works on it: a holder, its token and whether the lease is live.
    pub lease: Option<(Lease, bool)>,
    /// What was recorded last.
    pub status: Option<Status>,
    /// Where the gateway finds it.
    pub backends: BTreeMap<String, String>,
}

/// Everything that goes into the settings document, from one moment.
#[derive(Debug, Clone)]
pub struct Details {
    /// The generation of that moment.
    pub generation: i64,
    /// The organisation.
    pub tenant: Uuid,
    /// The cluster's TLS name.
    pub domain: String,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// What the tenant cannot exceed.
    pub limits: Limits,
    /// Who may do what.
    pub access: AccessList,
    /// The cluster's client CA, once the signer has made it.
    pub client_ca: Option<Vec<u8>>,
    /// The cluster's server CA.
    pub server_ca: Option<Vec<u8>>,
}

/// The signer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The request is not in the database (yet).
    Unknown,
    /// Not answered yet.
    Pending,
    /// No, and why.
    Refused(String),
    /// Yes.
    Issued {
        /// The certificate.
        certificate: Vec<u8>,
        /// Its end.
        not_after: OffsetDateTime,
    },
}

/// The clusters that are this machine's, or could be.
pub async fn look(pool: &PgPool, region: &str, host: &str) -> Result<Vec<Seen>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT c.id, c.organisation_id, c.domain, c.spus, c.generation, c.deleted_at IS NOT NULL AS "deleted!",
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

/// Takes clusters: those without a machine, and those whose lease ran out or was this holder's before.
/// Gives the tokens of the ones that were taken.
pub async fn claim(
    pool: &PgPool,
    host: &str,
    holder: Uuid,
    clusters: &[Uuid],
) -> Result<BTreeMap<Uuid, i64>, StoreError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("UPDATE clusters SET host = $1 WHERE id = ANY($2) AND host IS NULL", host, clusters)
        .execute(&mut *transaction)
        .await?;
    let taken = sqlx::query!(
        "INSERT INTO leases (cluster_id, holder, expires_at)
         SELECT id, $1, now() + make_interval(secs => $2) FROM clusters WHERE id = ANY($3) AND host = $4
         ON CONFLICT (cluster_id) DO UPDATE
         SET holder = excluded.holder, token = leases.token + 1, expires_at = excluded.expires_at
         WHERE leases.expires_at <= now() OR leases.holder = excluded.holder
         RETURNING cluster_id, token",
        holder,
        LEASE_SECONDS,
        clusters,
        host
    )
    .fetch_all(&mut *transaction)
    .await?;
    let ids: Vec<Uuid> = taken.iter().map(|row| row.cluster_id).collect();
    sqlx::query!(
        "INSERT INTO cluster_status (cluster_id, state, reason)
         SELECT id, 'creating', $2 FROM unnest($1::uuid[]) AS t(id) ON CONFLICT (cluster_id) DO NOTHING",
        &ids,
        Status::new().reason
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(taken.into_iter().map(|row| (row.cluster_id, row.token)).collect())
}

/// Renews every lease of a holder, and gives the tokens.
pub async fn renew(pool: &PgPool, holder: Uuid) -> Result<BTreeMap<Uuid, i64>, StoreError> {
    let rows = sqlx::query!(
        "UPDATE leases SET expires_at = now() + make_interval(secs => $2) WHERE holder = $1
         RETURNING cluster_id, token",
        holder,
        LEASE_SECONDS
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.cluster_id, row.token)).collect())
}

/// Which of these clusters exist, on whatever machine.
pub async fn existing(pool: &PgPool, clusters: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT id FROM clusters WHERE id = ANY($1)", clusters);
    Ok(rows.fetch_all(pool).await?)
}

/// Reads what goes into the settings; `None` when the cluster is gone.
pub async fn details(pool: &PgPool, cluster: Uuid) -> Result<Option<Details>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT c.generation, c.organisation_id, c.domain, c.durability, c.max_storage_bytes, c.max_partitions,
                  c.max_connections, c.max_message_bytes,
                  ARRAY(SELECT principal_id FROM access_entries a WHERE a.cluster_id = c.id AND a.revoked_at IS NULL
                        ORDER BY principal_id) AS "principals!",
                  ARRAY(SELECT role FROM access_entries a WHERE a.cluster_id = c.id AND a.revoked_at IS NULL
                        ORDER BY principal_id) AS "roles!",
                  ARRAY(SELECT serial FROM certificates k WHERE k.cluster_id = c.id AND k.kind = 'client'
                        AND k.revoked_at IS NOT NULL AND k.not_after > now() ORDER BY serial) AS "revoked!",
                  (SELECT certificate_der FROM certificate_authorities a
                   WHERE a.cluster_id = c.id AND a.purpose = 'client') AS client_ca,
                  (SELECT certificate_der FROM certificate_authorities a
                   WHERE a.cluster_id = c.id AND a.purpose = 'server') AS server_ca
           FROM clusters c WHERE c.id = $1"#,
        cluster
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let entries = row.principals.into_iter().zip(&row.roles).map(|(principal, role)| {
        let role = match role.as_str() {
            "admin" => Role::Admin,
            "user" => Role::User,
            _ => return Err(StoreError::Row("access_entries.role")),
        };
        Ok(AccessEntry { principal, role })
    });
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
        },
        access: AccessList {
            entries: entries.collect::<Result<_, _>>()?,
            revoked_serials: row.revoked.iter().map(|serial| serial_text(serial)).collect(),
        },
        client_ca: row.client_ca,
        server_ca: row.server_ca,
    }))
}

/// Puts a request for a server certificate; the same request twice is one.
pub async fn ask(
    pool: &PgPool,
    cluster: Uuid,
    request: Uuid,
    csr: &[u8],
    lifetime_seconds: u32,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO certificate_requests (id, cluster_id, kind, csr_der, lifetime_seconds)
         VALUES ($1, $2, 'server', $3, $4) ON CONFLICT (id) DO NOTHING",
        request,
        cluster,
        csr,
        i64::from(lifetime_seconds)
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What became of a request.
pub async fn answer(pool: &PgPool, request: Uuid) -> Result<Answer, StoreError> {
    let row = sqlx::query!(
        r#"SELECT r.state, r.refusal, c.certificate_der, c.not_after AS "not_after?"
           FROM certificate_requests r LEFT JOIN certificates c ON c.request_id = r.id WHERE r.id = $1"#,
        request
    )
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        None => Answer::Unknown,
        Some(row) => match (row.state.as_str(), row.certificate_der.zip(row.not_after)) {
            ("issued", Some((certificate, not_after))) => Answer::Issued { certificate, not_after },
            ("refused", _) => Answer::Refused(row.refusal.unwrap_or_default()),
            _ => Answer::Pending,
        },
    })
}

/// Records a cluster's status.
pub async fn record_status(
    pool: &PgPool,
    lease: Lease,
    cluster: Uuid,
    status: &Status,
) -> Result<(), StoreError> {
    let written = sqlx::query!(
        "WITH held AS (SELECT cluster_id FROM leases
                       WHERE cluster_id = $1 AND holder = $2 AND token = $3 AND expires_at > now() FOR SHARE)
         INSERT INTO cluster_status AS s (cluster_id, state, reason, observed_generation, spus_ready, partitions,
                                          storage_bytes, restarts, last_error, last_error_at, ready_at)
         SELECT cluster_id, $4, $5, $6, $7, $8, $9, $10, $11, CASE WHEN $11::text IS NOT NULL THEN now() END,
                CASE WHEN $12 THEN now() END
         FROM held
         ON CONFLICT (cluster_id) DO UPDATE
         SET state = excluded.state, reason = excluded.reason, observed_generation = excluded.observed_generation,
             spus_ready = excluded.spus_ready, partitions = excluded.partitions,
             storage_bytes = excluded.storage_bytes, restarts = excluded.restarts,
             last_error_at = CASE WHEN excluded.last_error IS DISTINCT FROM s.last_error
                                  THEN excluded.last_error_at ELSE s.last_error_at END,
             last_error = excluded.last_error, ready_at = coalesce(s.ready_at, excluded.ready_at),
             updated_at = now()",
        cluster,
        lease.holder,
        lease.token,
        status.state.as_str(),
        status.reason,
        status.observed_generation,
        status.spus_ready,
        status.partitions,
        status.storage_bytes,
        status.restarts,
        status.last_error,
        status.ready
    )
    .execute(pool)
    .await?;
    fenced_unless(written.rows_affected() == 1)
}

/// Tells the gateway where the cluster's servers are: these, and no others.
pub async fn publish_backends(
    pool: &PgPool,
    lease: Lease,
    cluster: Uuid,
    backends: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let names: Vec<String> = backends.keys().cloned().collect();
    let addresses: Vec<String> = backends.values().cloned().collect();
    let held = sqlx::query_scalar!(
        r#"WITH held AS (SELECT cluster_id FROM leases
                         WHERE cluster_id = $1 AND holder = $2 AND token = $3 AND expires_at > now() FOR SHARE),
         gone AS (DELETE FROM cluster_backends b USING held
                  WHERE b.cluster_id = held.cluster_id AND NOT b.server_name = ANY($4)),
         here AS (INSERT INTO cluster_backends (cluster_id, server_name, address)
                  SELECT held.cluster_id, t.name, t.address FROM held, unnest($4::text[], $5::text[]) AS t(name, address)
                  ON CONFLICT (cluster_id, server_name) DO UPDATE SET address = excluded.address)
         SELECT count(*) AS "held!" FROM held"#,
        cluster,
        lease.holder,
        lease.token,
        &names,
        &addresses
    )
    .fetch_one(pool)
    .await?;
    fenced_unless(held == 1)
}

/// Whether the data may go: the lease is held and the time of grace is over, by the database's own clock.
pub async fn confirm_purge(pool: &PgPool, lease: Lease, cluster: Uuid) -> Result<(), StoreError> {
    let confirmed = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM clusters c JOIN leases l ON l.cluster_id = c.id
           WHERE c.id = $1 AND c.deleted_at IS NOT NULL AND c.purge_after <= now()
             AND l.holder = $2 AND l.token = $3 AND l.expires_at > now()"#,
        cluster,
        lease.holder,
        lease.token
    )
    .fetch_one(pool)
    .await?;
    fenced_unless(confirmed == 1)
}

/// Removes a cluster whose time of grace is over, with everything that hangs on its row.
pub async fn purge(pool: &PgPool, lease: Lease, cluster: Uuid) -> Result<(), StoreError> {
    let gone = sqlx::query!(
        "WITH held AS (SELECT cluster_id FROM leases
                       WHERE cluster_id = $1 AND holder = $2 AND token = $3 AND expires_at > now())
         DELETE FROM clusters c USING held
         WHERE c.id = held.cluster_id AND c.deleted_at IS NOT NULL AND c.purge_after <= now()",
        cluster,
        lease.holder,
        lease.token
    )
    .execute(pool)
    .await?;
    fenced_unless(gone.rows_affected() == 1)
}

fn fenced_unless(held: bool) -> Result<(), StoreError> {
    if held { Ok(()) } else { Err(StoreError::Fenced) }
}
