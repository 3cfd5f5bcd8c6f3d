//! The portal's answers, as far as a command reads them. Fields we do not know of are the portal's own business.

use serde::{Deserialize, Serialize};

/// A signed-in session's tokens.
#[derive(Deserialize)]
pub struct Tokens {
    /// Sent with each call, good for minutes.
    pub access_token: String,
    /// Seconds until then.
    pub expires_in: u64,
    /// Exchanged for the next pair, once.
    pub refresh_token: String,
    /// Who signed in.
    pub user: User,
    /// Whose clusters they see.
    pub organisation: Organisation,
}

/// A person.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The portal's id for them.
    pub id: String,
    /// The address they sign in with.
    pub email: String,
    /// Whether they run the cloud.
    #[serde(default)]
    pub operator: bool,
}

/// The owner of clusters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Organisation {
    /// The portal's id for it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the person may do in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How many clusters it may own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clusters: Option<u64>,
}

/// `GET /me`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Me {
    /// The person whose token it is.
    pub user: User,
    /// Their organisation.
    pub organisation: Organisation,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts, if there is one.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// A cluster as the portal shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    /// The portal's id.
    pub id: String,
    /// The tenant's name for it.
    pub name: String,
    /// The TLS name.
    #[serde(default)]
    pub domain: String,
    /// `host:port` to dial.
    #[serde(default)]
    pub endpoint: String,
    /// Where it runs.
    #[serde(default)]
    pub region: String,
    /// `small`, `medium` or `large`.
    #[serde(default)]
    pub plan: String,
    /// `creating`, `running`, `degraded`, `failed`, `pausing`, `paused`, `resuming`, `deleting` or `deleted`.
    pub state: String,
    /// Why it is in that state, when there is more to say.
    #[serde(default)]
    pub reason: Option<String>,
    /// SPUs it should have.
    #[serde(default)]
    pub spus: u32,
    /// SPUs that serve now.
    #[serde(default)]
    pub spus_ready: u32,
    /// Partitions in use.
    #[serde(default)]
    pub partitions: Option<u64>,
    /// Bytes stored.
    #[serde(default)]
    pub storage_bytes: Option<u64>,
    /// When it was asked for.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Until when a deleted cluster can be had back.
    #[serde(default)]
    pub purge_after: Option<String>,
}

/// A client certificate as the portal lists it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// The portal's id.
    pub id: String,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// Where it is used, in the words of whoever asked for it.
    #[serde(default)]
    pub label: Option<String>,
    /// The entry of the access list; certificates with the same one have the same rights.
    #[serde(default)]
    pub principal: Option<String>,
    /// `admin` or `user`, if there are no rules.
    #[serde(default)]
    pub role: Option<String>,
    /// What counts instead of a role.
    #[serde(default)]
    pub rules: Option<Vec<Rule>>,
    /// When it was issued.
    #[serde(default)]
    pub created_at: Option<String>,
    /// When it ends by itself.
    #[serde(default)]
    pub not_after: Option<String>,
    /// When somebody ended it.
    #[serde(default)]
    pub revoked_at: Option<String>,
}

/// Rights on some topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// A name, a prefix with `*` behind it, or `*`.
    pub topics: String,
    /// `produce`, `consume`, `admin`.
    pub rights: Vec<String>,
}

/// A certificate that was just signed.
#[derive(Debug, Deserialize)]
pub struct Issued {
    /// The portal's id for it.
    pub id: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// The authority behind the cluster's servers, PEM.
    pub ca: String,
    /// When it ends.
    #[serde(default)]
    pub not_after: Option<String>,
    /// `admin` or `user`, if there are no rules.
    #[serde(default)]
    pub role: Option<String>,
    /// What counts instead of a role.
    #[serde(default)]
    pub rules: Option<Vec<Rule>>,
}

/// An error as the portal tells it (RFC 9457), with its next step.
#[derive(Debug, Default, Deserialize)]
pub struct Problem {
    /// What kind of problem, in few words.
    #[serde(default)]
    pub title: Option<String>,
    /// What happened this time.
    #[serde(default)]
    pub detail: Option<String>,
    /// What to do.
    #[serde(default)]
    pub fix: Option<String>,
    /// What to quote to whoever runs the portal.
    #[serde(default)]
    pub request_id: Option<String>,
}
