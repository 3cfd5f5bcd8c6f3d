//! Builds the documents that a cluster gets: its settings while it runs, and its processes' configuration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster_host::{ScPart, ServerFile, SpuPart};
use cluster_settings::{Identity, PublicEndpoint, Settings, SpuEntry, oldest_version};
use uuid::Uuid;

use crate::folder::Place;
use crate::process::{Role, spu_id, spu_name};
use crate::store::Details;

/// The key and certificate of a cluster's servers.
#[derive(Clone)]
pub struct ServerIdentity {
    /// PKCS#8, PEM.
    pub key_pem: String,
    /// PEM.
    pub certificate_pem: String,
}

/// Builds the settings of a cluster; `None` until the signer has made its client CA.
pub fn build(
    cluster: Uuid,
    spus: Vec<SpuEntry>,
    details: &Details,
    identity: &ServerIdentity,
    endpoint: PublicEndpoint,
    offset: u64,
) -> Option<Settings> {
    let client_ca = details.client_ca.as_ref()?;
    Some(Settings {
        version: oldest_version(&details.access, &details.limits),
        generation: details.generation.unsigned_abs() + offset,
        tenant: details.tenant,
        cluster,
        domain: details.domain.clone(),
        public_endpoint: endpoint,
        spus,
        durability: details.durability,
        identity: Some(Identity {
            certificate_pem: identity.certificate_pem.clone(),
            key_pem: identity.key_pem.clone(),
            client_ca_pem: pem("CERTIFICATE", client_ca),
        }),
        access: details.access.clone(),
        limits: details.limits,
    })
}

/// The SPUs of a cluster on one machine, for its settings.
pub fn spu_entries(spus: u8) -> Vec<SpuEntry> {
    (0..spus.max(1))
        .map(|number| SpuEntry {
            id: spu_id(number),
            name: spu_name(number),
            rack: None,
            leaving: false,
            public_endpoint: None,
        })
        .collect()
}

/// A DER document as PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = vec![format!("-----BEGIN {label}-----")];
    // Base64 is ASCII, so every chunk is text.
    lines.extend(text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()));
    lines.push(format!("-----END {label}-----\n"));
    lines.join("\n")
}

/// The configuration file of one process: its name and its text.
pub fn process_config(
    place: &Place,
    tenant: Uuid,
    role: Role,
    host_reserve_bytes: u64,
) -> Result<(String, String), toml::ser::Error> {
    let unix = |name: &str| format!("unix:{}", place.socket(name).display());
    let sc = matches!(role, Role::Node | Role::Sc).then(|| ScPart {
        public: vec![unix("sc")],
        control: unix("control"),
        link: unix("link"),
    });
    let spu = role.spu().map(|number| {
        let name = spu_name(number);
        SpuPart {
            public: vec![unix(&name)],
            link: unix("link"),
            peer: unix(&format!("peer-{name}")),
            control: sc.is_none().then(|| unix(&format!("control-{name}"))),
            name,
        }
    });
    let data = place.data();
    let config =
        ServerFile { role_dir_data: &data, tenant, cluster: place.cluster(), host_reserve_bytes, sc, spu };
    Ok((format!("{role}.toml"), toml::to_string(&config)?))
}

/// Where the gateway finds the servers of a cluster with this many SPUs.
pub fn backends(place: &Place, spus: u8) -> std::collections::BTreeMap<String, String> {
    let unix = |name: &str| format!("unix:{}", place.socket(name).display());
    let spus = (0..spus.max(1)).map(spu_name).map(|name| (name.clone(), unix(&name)));
    std::iter::once((String::new(), unix("sc"))).chain(spus).collect()
}
