//! The rows that the provisioner reads and writes.
//!
//! Every write about a cluster names the lease under which it is made, holder and token, in the same statement,
//! and locks that lease while it writes: a provisioner whose lease was taken over changes nothing any more.

pub mod fleet;
mod read;
mod write;

pub use read::{answer, answered, answers, authority, details, existing, look};
pub use write::{ask, claim, confirm_purge, publish_backends, purge, record_status, renew};

use std::collections::BTreeMap;

use cluster_settings::{AccessList, Durability, Limits};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::status::Status;

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

/// The size of a cluster's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plan {
    /// To begin with.
    Small,
    /// For steady work.
    Medium,
    /// For much of it.
    Large,
}

impl Plan {
    /// All of them, with their names in the database.
    pub const ALL: [(Plan, &'static str); 3] =
        [(Plan::Small, "small"), (Plan::Medium, "medium"), (Plan::Large, "large")];

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == text).map(|(plan, _)| plan)
    }
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
    /// How large they are.
    pub plan: Plan,
    /// Its servers are to rest.
    pub paused: bool,
    /// Grows with every change, access included.
    pub generation: i64,
    /// Deletion is wanted.
    pub deleted: bool,
    /// The time of grace is over.
    pub purge_due: bool,
}

impl Wanted {
    /// Whether its servers are to rest: it is paused or deleted.
    pub fn rests(&self) -> bool {
        self.paused || self.deleted
    }
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

/// A request for a certificate.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Its id.
    pub id: Uuid,
    /// `server` or `internal`.
    pub kind: &'a str,
    /// PKCS#10, DER.
    pub csr: &'a [u8],
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
