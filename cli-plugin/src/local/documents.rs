//! The documents that the servers get: their configuration files and the cluster's settings.

use cluster_host::{ScPart, ServerFile, SpuPart};
use cluster_settings::{
    AccessEntry, AccessList, Durability, LOCAL_PRINCIPAL, Limits, PublicEndpoint, Rates, Role, Settings,
    SpuEntry, oldest_version,
};

use super::book::Book;
use super::place::Place;
use crate::failure::{Failure, OrFail};

/// Bytes of the disk that the servers leave free: below it they store nothing more.
pub const RESERVE_BYTES: u64 = 512 << 20;

/// What a laptop's cluster cannot exceed. The disk bounds it, and these keep a runaway program from taking the machine.
const LIMITS: Limits = Limits {
    storage_bytes: u64::MAX,
    partitions: 10_000,
    connections: 1_000,
    message_bytes: 32 << 20,
    rates: Rates::UNLIMITED,
    principal_rates: Rates::UNLIMITED,
    principal_connections: None,
};

/// The name that SC and SPUs would have in TLS; the settings want one.
const DOMAIN: &str = "local.fluvio.localhost";

/// The configuration file of one server: `sc`, or an SPU of the book.
pub fn configuration(place: &Place, book: &Book, server: &str) -> Result<String, Failure> {
    let unix = |name: &str| format!("unix:{}", place.socket(name).display());
    let plain = |port: u16| vec![format!("tcp+plain:127.0.0.1:{port}")];
    let sc = (server == "sc").then(|| ScPart {
        public: plain(book.port),
        control: unix("control"),
        link: unix("link"),
    });
    let spu = book.spus.iter().find(|spu| spu.name == server).map(|spu| SpuPart {
        name: spu.name.clone(),
        public: plain(spu.port),
        link: unix("link"),
        peer: unix(&format!("peer-{}", spu.name)),
        control: None,
    });
    let config = ServerFile {
        role_dir_data: &book.data,
        tenant: book.tenant,
        cluster: book.cluster,
        host_reserve_bytes: RESERVE_BYTES,
        sc,
        spu,
    };
    toml::to_string(&config).or_fail(&format!("the configuration of {server} cannot be written"))
}

/// The settings of the cluster: no TLS, and whoever is on this machine is its admin.
pub fn settings(book: &Book) -> Settings {
    // A number: clients would have to look a name up for each connection, and could find another family's address.
    let endpoint = |port: u16| PublicEndpoint { host: "127.0.0.1".into(), port };
    let access = AccessList {
        entries: vec![AccessEntry { principal: LOCAL_PRINCIPAL, role: Role::Admin, rules: None }],
        revoked_serials: Vec::new(),
    };
    Settings {
        version: oldest_version(&access, &LIMITS),
        generation: book.generation,
        tenant: book.tenant,
        cluster: book.cluster,
        domain: DOMAIN.into(),
        public_endpoint: endpoint(book.port),
        spus: book
            .spus
            .iter()
            .map(|spu| SpuEntry {
                id: spu.id,
                name: spu.name.clone(),
                rack: None,
                leaving: false,
                public_endpoint: Some(endpoint(spu.port)),
            })
            .collect(),
        durability: Durability::Disk,
        identity: None,
        access,
        limits: LIMITS,
    }
}
