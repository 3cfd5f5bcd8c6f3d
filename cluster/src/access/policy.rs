//! One settings document, checked and made ready for use.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use cluster_settings::{LOCAL_PRINCIPAL, Settings};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Action, Credential, Grant, On};
use crate::tls::{ServerTls, TlsError};

/// The policy in force; `None` until the first settings have come.
pub type PolicyWatch = watch::Receiver<Option<Arc<Policy>>>;

/// The settings cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A newer writer.
    #[error("the settings are of version {0}, and this build reads version {known}", known = cluster_settings::VERSION)]
    Version(u32),
    /// An empty or dotted name, or one used twice.
    #[error("the settings' SPU {0:?} has an id or name that is invalid or used twice")]
    Spu(String),
    /// A cluster with TLS never falls back to plaintext.
    #[error("the settings have no identity, and those in force have one: a cluster with TLS keeps it")]
    NoIdentity,
    /// Keys or certificates.
    #[error("the settings' identity: {0}")]
    Tls(#[from] TlsError),
}

/// Why a verified certificate opens nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Of another tenant or cluster.
    #[error("the certificate is for another cluster")]
    Elsewhere,
    /// Not in the access list.
    #[error("the principal is not in the access list")]
    Unknown,
    /// In the list of revoked ones.
    #[error("the certificate is revoked")]
    Revoked,
    /// Past its end.
    #[error("the certificate has expired")]
    Expired,
}

/// What is in force.
#[derive(Debug)]
pub struct Policy {
    /// The document.
    pub settings: Settings,
    /// TLS for the SC and for SPUs, built from the document's identity; without one there is plaintext on loopback.
    pub tls: Option<ServerTls>,
    grants: HashMap<Uuid, Grant>,
    revoked: HashSet<String>,
}

impl Policy {
    /// Checks the settings and prepares them. With `previous`, TLS sessions stay resumable across a change
    /// that leaves the identity as it was.
    pub fn build(settings: Settings, previous: Option<&Policy>) -> Result<Self, PolicyError> {
        if settings.version > cluster_settings::VERSION {
            return Err(PolicyError::Version(settings.version));
        }
        check_spus(&settings)?;
        let tls = match (&settings.identity, previous) {
            (None, Some(previous)) if previous.tls.is_some() => return Err(PolicyError::NoIdentity),
            (None, _) => None,
            (identity, Some(previous)) if previous.settings.identity == *identity => previous.tls.clone(),
            (Some(identity), _) => Some(ServerTls::build(identity)?),
        };
        let entries = settings.access.entries.iter();
        let grants = entries.map(|entry| (entry.principal, Grant::of(entry))).collect();
        let revoked = settings.access.revoked_serials.iter().cloned().collect();
        Ok(Self { settings, tls, grants, revoked })
    }

    /// What a verified certificate opens now.
    pub fn grant_of(&self, credential: &Credential, now: SystemTime) -> Result<&Grant, Refusal> {
        let principal = &credential.principal;
        if (principal.tenant, principal.cluster) != (self.settings.tenant, self.settings.cluster) {
            return Err(Refusal::Elsewhere);
        }
        if principal.id == LOCAL_PRINCIPAL && self.tls.is_some() {
            return Err(Refusal::Unknown);
        }
        if self.revoked.contains(&credential.serial) {
            return Err(Refusal::Revoked);
        }
        if credential.not_after <= now {
            return Err(Refusal::Expired);
        }
        self.grants.get(&principal.id).ok_or(Refusal::Unknown)
    }

    /// Whether the access list has this principal.
    pub fn lists(&self, principal: Uuid) -> bool {
        self.grants.contains_key(&principal)
    }

    /// Whether a verified certificate may do this now.
    pub fn permits(&self, credential: &Credential, action: Action, on: On<'_>) -> bool {
        self.grant_of(credential, SystemTime::now()).is_ok_and(|grant| grant.allows(action, on))
    }
}

fn check_spus(settings: &Settings) -> Result<(), PolicyError> {
    let mut ids = HashSet::new();
    let mut names = HashSet::new();
    for spu in &settings.spus {
        // The name is one DNS label: clients put it before the domain.
        let valid = !spu.name.is_empty() && spu.name.len() <= 63 && !spu.name.contains('.') && spu.id >= 0;
        if !(valid && ids.insert(spu.id) && names.insert(spu.name.as_str())) {
            return Err(PolicyError::Spu(spu.name.clone()));
        }
    }
    Ok(())
}
