//! Profiles with a key made here: for the web page's download and for clients that know only upstream's login
//! contract. The key is handed out once and kept nowhere.

use cluster_settings::Role;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::accounts::person::Person;
use crate::app::App;
use crate::certificates::issue::{self, DEFAULT_SECONDS, Wanted};
use crate::certificates::rights::Rights;
use crate::db::audit::{self, Outcome};
use crate::db::certificates as rows;
use crate::db::clusters::ClusterRow;
use crate::edge::once::Once;
use crate::problem::Problem;

/// The label of certificates that older clients got; those are counted by it.
pub const LEGACY_LABEL: &str = "cloud.login of an older client";
/// Living certificates of older clients for one person: each of their sign-ins makes one, the oldest goes.
const MOST_LEGACY: i64 = 10;

/// A cluster as clients keep it (JSON and TOML have the same names).
#[derive(Serialize, utoipa::ToSchema)]
pub struct ClusterConfig {
    /// host:port of the gateway.
    pub endpoint: String,
    /// Always false: SPUs are reached through the gateway.
    pub use_spu_local_address: bool,
    /// What kind of installation it is.
    pub metadata: Metadata,
    /// The client's side of mutual TLS.
    pub tls: Tls,
}

/// What kind of installation it is.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Metadata {
    /// Always `cloud`.
    pub installation: &'static str,
}

/// The client's side of mutual TLS.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Tls {
    /// Always `verified`.
    pub tls_policy: &'static str,
    /// Always `inline`.
    pub tls_source: &'static str,
    /// Key and certificates.
    pub certs: Certs,
}

/// Key and certificates, PEM.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Certs {
    /// The TLS name of the cluster.
    pub domain: String,
    /// The client's key.
    pub key: String,
    /// The client's certificate.
    pub cert: String,
    /// The CA of the cluster's servers.
    pub ca_cert: String,
}

/// A profile file with one cluster.
#[derive(Serialize)]
struct ProfileFile<'a> {
    version: &'static str,
    current_profile: &'a str,
    profile: std::collections::BTreeMap<&'a str, ProfileEntry<'a>>,
    cluster: std::collections::BTreeMap<&'a str, &'a ClusterConfig>,
}

#[derive(Serialize)]
struct ProfileEntry<'a> {
    cluster: &'a str,
}

/// Makes a key, has its certificate issued, and puts both into a cluster's configuration.
pub async fn make(
    app: &App,
    person: &Person,
    cluster: &ClusterRow,
    label: &str,
    rights: Rights,
) -> Result<ClusterConfig, Problem> {
    let (key, csr_der) = new_key()?;
    let wanted = Wanted { csr_der, label, rights, lifetime_seconds: DEFAULT_SECONDS };
    let issued = issue::issue(app, person, cluster, wanted, &Once::Unkeyed).await?;
    Ok(ClusterConfig {
        endpoint: cluster.endpoint.clone(),
        use_spu_local_address: false,
        metadata: Metadata { installation: "cloud" },
        tls: Tls {
            tls_policy: "verified",
            tls_source: "inline",
            certs: Certs {
                domain: cluster.domain.clone(),
                key: key.to_string(),
                cert: issued.certificate,
                ca_cert: issued.ca,
            },
        },
    })
}

/// The same for an older client, which makes a new certificate with each sign-in: the oldest are revoked.
pub async fn make_legacy(app: &App, person: &Person, cluster: &ClusterRow) -> Result<ClusterConfig, Problem> {
    let config = make(app, person, cluster, LEGACY_LABEL, Rights::Role(Role::Admin)).await?;
    let mut tx = app.pool.begin().await?;
    let revoked =
        rows::revoke_oldest(&mut *tx, person.organisation_id, person.user_id, LEGACY_LABEL, MOST_LEGACY)
            .await?;
    if revoked > 0 {
        let detail = json!({ "revoked": revoked, "why": "more than ten of an older client" });
        let object = cluster.id.to_string();
        audit::record(&mut *tx, &person.actor, "certificate.revoke", &object, Outcome::Done, detail).await?;
    }
    tx.commit().await?;
    Ok(config)
}

/// A P-256 key and a request for it.
fn new_key() -> Result<(Zeroizing<String>, Vec<u8>), Problem> {
    let key = rcgen::KeyPair::generate().map_err(|error| Problem::internal(&error))?;
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .map_err(|error| Problem::internal(&error))?;
    Ok((Zeroizing::new(key.serialize_pem()), csr.der().to_vec()))
}

/// The profile file as upstream's client reads it.
pub fn file(name: &str, cluster: &ClusterConfig) -> Result<String, Problem> {
    let file = ProfileFile {
        version: "2.0",
        current_profile: name,
        profile: [(name, ProfileEntry { cluster: name })].into(),
        cluster: [(name, cluster)].into(),
    };
    toml::to_string(&file).map_err(|error| Problem::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClusterConfig {
        ClusterConfig {
            endpoint: "127.0.0.1:9443".into(),
            use_spu_local_address: false,
            metadata: Metadata { installation: "cloud" },
            tls: Tls {
                tls_policy: "verified",
                tls_source: "inline",
                certs: Certs {
                    domain: "a.fluvio.localhost".into(),
                    key: "KEY\n".into(),
                    cert: "CERT\n".into(),
                    ca_cert: "CA\n".into(),
                },
            },
        }
    }

    #[test]
    fn the_profile_file_has_upstream_s_form() {
        let parsed: toml::Table = toml::from_str(&file("main", &config()).unwrap()).unwrap();
        assert_eq!(parsed["version"].as_str(), Some("2.0"));
        assert_eq!(parsed["current_profile"].as_str(), Some("main"));
        assert_eq!(parsed["profile"]["main"]["cluster"].as_str(), Some("main"));
        let cluster = &parsed["cluster"]["main"];
        assert_eq!(cluster["endpoint"].as_str(), Some("127.0.0.1:9443"));
        assert_eq!(cluster["metadata"]["installation"].as_str(), Some("cloud"));
        assert_eq!(cluster["tls"]["tls_policy"].as_str(), Some("verified"));
        assert_eq!(cluster["tls"]["certs"]["ca_cert"].as_str(), Some("CA\n"));
    }

    #[test]
    fn the_json_form_has_the_fields_that_older_clients_read() {
        let json = serde_json::to_value(config()).unwrap();
        assert_eq!(json["tls"]["tls_source"], "inline");
        assert_eq!(json["tls"]["certs"]["domain"], "a.fluvio.localhost");
        assert_eq!(json["use_spu_local_address"], false);
    }

    #[test]
    fn each_profile_has_a_key_of_its_own() {
        let (a, b) = (new_key().unwrap(), new_key().unwrap());
        assert_ne!(a.0, b.0);
        assert!(a.0.contains("BEGIN PRIVATE KEY"));
    }
}
