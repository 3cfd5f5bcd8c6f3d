//! The settings document of a cluster: everything about it that can change while it runs.
//!
//! The provisioner builds it from what Postgres wants and pushes it to the SC (`PUT /v1/settings` on its
//! control socket); the SC keeps the last one on disk and streams it to its SPUs, which keep theirs. So a
//! change of certificates, access or limits acts within a second, without a restart, and is still in force
//! when the SC, the provisioner or Postgres is away. This crate is the format and nothing else.

mod limits;
mod principal;
mod rules;

pub use limits::{Limits, Rates};
pub use principal::{Principal, PrincipalError};
pub use rules::{RULES_MAX, Right, Rule, RuleError, TopicPattern};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The newest version of the document that this build reads and writes; a reader refuses a newer one. Version 2 brought
/// [`AccessEntry::rules`], version 3 [`Limits::rates`], [`Limits::principal_rates`] and
/// [`Limits::principal_connections`].
pub const VERSION: u32 = 3;

/// Who every client of a cluster without an [`Identity`] is. Where there is one, it is nobody, whatever the access
/// list says.
pub const LOCAL_PRINCIPAL: Uuid = Uuid::nil();

/// One cluster's settings, whole: a push replaces what was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The oldest version that can say all of this: [`oldest_version`].
    pub version: u32,
    /// Grows with every change; a document with a lower generation than the one in force is refused.
    pub generation: u64,
    /// The organisation that owns the cluster.
    pub tenant: Uuid,
    /// The cluster.
    pub cluster: Uuid,
    /// TLS name of the SC; an SPU's is `<spu name>.<domain>`.
    pub domain: String,
    /// Where clients dial SC and SPUs alike: the gateway.
    pub public_endpoint: PublicEndpoint,
    /// The SPUs that belong to the cluster.
    pub spus: Vec<SpuEntry>,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// The servers' key and certificates. A cluster without them speaks plaintext, on loopback and nowhere else, and
    /// all its clients are [`LOCAL_PRINCIPAL`]; one that has had them takes no settings without any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Who may do what.
    pub access: AccessList,
    /// What the tenant cannot exceed.
    pub limits: Limits,
}

/// Host and port that clients dial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicEndpoint {
    /// A DNS name or an IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One SPU of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpuEntry {
    /// Unique within the cluster; 5001 and up by upstream's custom.
    pub id: i32,
    /// Unique within the cluster, a DNS label without dots: `main-0`.
    pub name: String,
    /// The failure domain that it is in; clients see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// It is to go: no new partition is put on it, and settings without it are taken once it holds none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// Where clients dial it, if not where they dial the cluster: without TLS no name in a ClientHello tells one SPU
    /// from another, so each has a port of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_endpoint: Option<PublicEndpoint>,
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Fsynced before it is acknowledged.
    Disk,
    /// In the page cache when it is acknowledged; shown wherever the cluster is described.
    Memory,
}

/// The key and certificates with which SC and SPUs meet clients.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The server certificate (`<domain>` and `*.<domain>`), PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 PEM. Never logged: `Debug` leaves it out.
    pub key_pem: String,
    /// The cluster's client CAs, PEM, one or more: the only roots that clients are checked against.
    pub client_ca_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Who may do what. A principal that is not listed may do nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessList {
    /// One entry a principal.
    pub entries: Vec<AccessEntry>,
    /// Serial numbers of revoked certificates that have not expired yet: lower-case hex of the bytes in the
    /// certificate, without leading zero bytes.
    pub revoked_serials: Vec<String>,
}

/// One principal's rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessEntry {
    /// As in the certificate's URI.
    pub principal: Uuid,
    /// What it may do, unless there are rules.
    pub role: Role,
    /// With rules it may do only what one of them gives, whatever its role; with an empty list nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
}

/// The version of a document with this access list and these limits. It is the oldest that will do, so that clusters of
/// the release before go on taking documents that say nothing new, and none takes rules or limits that it would not follow.
pub fn oldest_version(access: &AccessList, limits: &Limits) -> u32 {
    if limits.are_of_version_3() {
        3
    } else if access.entries.iter().any(|entry| entry.rules.is_some()) {
        2
    } else {
        1
    }
}

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Clusters and topics, and all that `User` may.
    Admin,
    /// Produce and consume; see topics, partitions and SPUs.
    User,
}

/// The serial number of a certificate as [`AccessList::revoked_serials`] writes it.
pub fn serial_text(serial: &[u8]) -> String {
    let from = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial[from..].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_written_without_leading_zero_bytes() {
        assert_eq!(serial_text(&[0, 0x0a, 0xff, 0]), "0aff00");
        assert_eq!(serial_text(&[0, 0]), "");
    }

    #[test]
    fn the_private_key_is_not_in_the_debug_text() {
        let identity =
            Identity { certificate_pem: "CERT".into(), key_pem: "SECRET".into(), client_ca_pem: "CA".into() };
        assert!(!format!("{identity:?}").contains("SECRET"));
    }

    #[test]
    fn an_entry_without_rules_is_written_as_ever_and_rules_make_a_newer_document() {
        let plain = r#"{"principal":"6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f01","role":"user"}"#;
        let mut entry: AccessEntry = serde_json::from_str(plain).unwrap();
        assert_eq!((serde_json::to_string(&entry).unwrap().as_str(), &entry.rules), (plain, &None));
        let list =
            |entry: &AccessEntry| AccessList { entries: vec![entry.clone()], revoked_serials: Vec::new() };
        let limits = r#"{"storage_bytes":1,"partitions":2,"connections":3,"message_bytes":4}"#;
        let limits: Limits = serde_json::from_str(limits).unwrap();
        let version = |access: &AccessList| oldest_version(access, &limits);
        assert_eq!((version(&AccessList::default()), version(&list(&entry))), (1, 1));
        for rules in [vec![], vec!["produce:orders-*".parse().unwrap()]] {
            entry.rules = Some(rules);
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<AccessEntry>(&text).unwrap(), entry);
            assert_eq!(version(&list(&entry)), 2);
        }
    }

    #[test]
    fn an_spu_without_anything_special_is_written_as_ever() {
        let plain = r#"{"id":5001,"name":"main-0"}"#;
        let mut spu: SpuEntry = serde_json::from_str(plain).unwrap();
        assert_eq!((spu.rack.as_deref(), spu.leaving), (None, false));
        assert_eq!(serde_json::to_string(&spu).unwrap(), plain);
        (spu.rack, spu.leaving) = (Some("a".into()), true);
        spu.public_endpoint = Some(PublicEndpoint { host: "h".into(), port: 1 });
        let text = serde_json::to_string(&spu).unwrap();
        let whole = r#"{"id":5001,"name":"main-0","rack":"a","leaving":true,"public_endpoint":{"host":"h","port":1}}"#;
        assert_eq!(text, whole);
        assert_eq!(serde_json::from_str::<SpuEntry>(&text).unwrap(), spu);
    }
}
