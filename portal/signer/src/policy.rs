//! Who gets which names. A pure decision, made again inside the signer although the portal made it before:
//! a taken portal must not be able to talk a certificate for a foreign cluster out of it.

use cluster_settings::Principal;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::csr::{self, ProvenKey};

/// The one role that may ask for clients' certificates.
const PORTAL: &str = "cloud_portal";
/// The one role that may ask for servers' certificates.
const PROVISIONER: &str = "cloud_provisioner";

/// Whoever asked has long given up; a certificate released now would serve nobody who waits for it.
const STALE: Duration = Duration::minutes(15);

/// How far the start of a certificate lies back, for clients whose clock is slow.
pub const BACKDATE: Duration = Duration::hours(1);

/// What a certificate, and the CA that signs it, is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SC and SPUs towards clients.
    Server,
    /// Clients towards SC and SPUs.
    Client,
    /// SC and SPUs among each other.
    Internal,
}

impl Kind {
    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Server => "server",
            Kind::Client => "client",
            Kind::Internal => "internal",
        }
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        [Kind::Server, Kind::Client, Kind::Internal].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A request with all that the database knows about it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The row.
    pub id: Uuid,
    /// What is asked for.
    pub kind: Kind,
    /// The database role that inserted the row.
    pub requested_by: String,
    /// For `client`: whose certificate it is.
    pub principal: Option<Uuid>,
    /// Whether the access list names that principal, for this cluster, unrevoked.
    pub principal_live: bool,
    /// The organisation that owns the cluster.
    pub tenant: Uuid,
    /// The cluster.
    pub cluster: Uuid,
    /// The cluster's TLS name.
    pub domain: String,
    /// Whether deletion of the cluster is wanted.
    pub cluster_deleted: bool,
    /// PKCS#10.
    pub csr_der: Vec<u8>,
    /// How long the certificate shall live.
    pub lifetime: Duration,
    /// When the row was inserted, and the database's time now.
    pub requested_at: OffsetDateTime,
    /// The database's clock.
    pub now: OffsetDateTime,
}

/// The names in a certificate; nobody but the policy makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// `<domain>` and `*.<domain>`.
    Server {
        /// The cluster's TLS name.
        domain: String,
    },
    /// The one name of the cluster's own links; never looked up, only compared.
    Internal {
        /// The cluster's TLS name.
        domain: String,
    },
    /// One URI.
    Client(Principal),
}

/// A certificate that may be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it will say.
    pub names: Names,
    /// For which key.
    pub key: ProvenKey,
}

/// Why not. The texts go to the person who asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// The request itself.
    #[error(transparent)]
    Csr(#[from] csr::CsrError),
    /// A program asked for what is not its business.
    #[error("This program may not ask for {0} certificates.")]
    Requester(&'static str),
    /// The principal is gone.
    #[error(
        "Your access to this cluster was taken back. Ask the cluster's owner for access, then log in again."
    )]
    Principal,
    /// The cluster is going.
    #[error("This cluster is being deleted. Bring it back first if you want to use it.")]
    Deleted,
    /// Too old.
    #[error("The request waited too long for an answer. Send it again.")]
    Stale,
}

/// Decides on one request.
pub fn decide(request: &Request) -> Result<Grant, Refusal> {
    let asker = match request.kind {
        Kind::Client => PORTAL,
        Kind::Server | Kind::Internal => PROVISIONER,
    };
    if request.requested_by != asker {
        return Err(Refusal::Requester(request.kind.as_str()));
    }
    if request.cluster_deleted {
        return Err(Refusal::Deleted);
    }
    if request.now - request.requested_at > STALE {
        return Err(Refusal::Stale);
    }
    let domain = request.domain.clone();
    let names = match (request.kind, request.principal) {
        (Kind::Server, _) => Names::Server { domain },
        (Kind::Internal, _) => Names::Internal { domain },
        (Kind::Client, Some(id)) if request.principal_live => {
            Names::Client(Principal { tenant: request.tenant, cluster: request.cluster, id })
        }
        (Kind::Client, _) => return Err(Refusal::Principal),
    };
    Ok(Grant { names, key: csr::proven_key(&request.csr_der)? })
}
