//! The servers' configuration files: what cannot change while they run. Everything else comes with the settings.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;
use uuid::Uuid;

use super::{Shape, Site, metadata};
use super::{services, sizes};
use crate::kubernetes::names;

/// Its name.
pub const NAME: &str = "config";
/// Where the pods see its files.
pub const FOLDER: &str = "/etc/fluvio";
/// Where a server keeps its data.
pub const DATA: &str = "/data";

#[derive(Serialize)]
struct File<'a> {
    role_dir_data: &'a str,
    tenant: Uuid,
    cluster: Uuid,
    host_reserve_bytes: u64,
    internal: Internal,
    #[serde(skip_serializing_if = "Option::is_none")]
    sc: Option<Sc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spu: Option<Spu>,
}

#[derive(Serialize)]
struct Internal {
    name: String,
    certificate_file: String,
    key_file: String,
    ca_file: String,
}

#[derive(Serialize)]
struct Sc {
    public: Vec<String>,
    link: String,
    control: String,
    probe: String,
}

#[derive(Serialize)]
struct Spu {
    public: Vec<String>,
    link: String,
    peer: String,
    peer_address: String,
    probe: String,
}

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> ConfigMap {
    let data = [sc_file(shape), spu_file(shape)];
    ConfigMap {
        metadata: metadata(site, shape, NAME),
        data: Some(BTreeMap::from(data.map(|(name, text)| (name.to_owned(), text)))),
        ..ConfigMap::default()
    }
}

/// The SC's file: name and text.
pub fn sc_file(shape: &Shape) -> (&'static str, String) {
    let sc = Sc {
        public: vec![behind_proxy(names::SC_PUBLIC)],
        link: listen(names::SC_LINK),
        control: listen(names::SC_CONTROL),
        probe: listen(names::PROBE),
    };
    ("sc.toml", text(shape, sizes::of(shape.plan).sc, Some(sc), None))
}

/// The SPUs' file: name and text.
pub fn spu_file(shape: &Shape) -> (&'static str, String) {
    let namespace = names::namespace(shape.cluster);
    let spu = Spu {
        public: vec![behind_proxy(names::SPU_PUBLIC)],
        link: format!("tcp:sc.{namespace}.svc:{}", names::SC_LINK),
        peer: listen(names::SPU_LINK),
        // The server puts its own name in.
        peer_address: format!("tcp:{{name}}.{}.{namespace}.svc:{}", services::SERVERS, names::SPU_LINK),
        probe: listen(names::PROBE),
    };
    ("spu.toml", text(shape, sizes::of(shape.plan).spu, None, Some(spu)))
}

fn text(shape: &Shape, share: sizes::Share, sc: Option<Sc>, spu: Option<Spu>) -> String {
    let identity = |file: &str| format!("{FOLDER}/internal/{file}");
    let file = File {
        role_dir_data: DATA,
        tenant: shape.tenant,
        cluster: shape.cluster,
        // A sixteenth of the volume stays free, for what is written while records are refused.
        host_reserve_bytes: (u64::from(share.volume) << 30) / 16,
        internal: Internal {
            name: internal_name(&shape.domain),
            certificate_file: identity("tls.crt"),
            key_file: identity("tls.key"),
            ca_file: identity("ca.crt"),
        },
        sc,
        spu,
    };
    // Strings, numbers and tables last: TOML can say all of it.
    toml::to_string(&file).unwrap_or_default()
}

/// The name in the certificates of a cluster's internal links.
pub fn internal_name(domain: &str) -> String {
    format!("internal.{domain}")
}

fn listen(port: u16) -> String {
    format!("tcp:0.0.0.0:{port}")
}

fn behind_proxy(port: u16) -> String {
    format!("tcp+proxy:0.0.0.0:{port}")
}
