//! The file that each program is started with. Their keys are described where they are read: each program's
//! own `config` module.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::UpOptions;
use crate::database::url_file;
use crate::ports::Ports;
use crate::state::State;
use crate::walls::Walls;

/// The name below which a cluster's domain lies. Nothing resolves it: profiles carry the gateway's address,
/// and the domain is only the TLS name.
const BASE_DOMAIN: &str = "fluvio.localhost";
/// Where this cloud runs, as tenants read it.
const REGION: &str = "local";

#[derive(Serialize)]
struct Portal<'a> {
    listen: String,
    public_url: String,
    database_url_file: &'a Path,
    owner_url_file: &'a Path,
    jwt_key_file: &'a Path,
    base_domain: &'a str,
    gateway_endpoint: String,
    runtime: &'a str,
    region: &'a str,
    delete_grace_seconds: u64,
    mail: Mail,
    rates: Rates,
}

/// Limits per client address. On loopback everybody has the same one, so they only bound the machine's own
/// mistakes here.
#[derive(Serialize)]
struct Rates {
    sign_ups: u32,
    failed_sign_ins: u32,
    requests: u32,
}

#[derive(Serialize)]
struct Mail {
    kind: &'static str,
}

#[derive(Serialize)]
struct Signer<'a> {
    database_url_file: &'a Path,
    key_file: &'a Path,
}

#[derive(Serialize)]
struct Provisioner<'a> {
    database_url_file: &'a Path,
    host: &'a str,
    region: &'a str,
    runtime: &'a str,
    clusters_dir: &'a Path,
    state_dir: &'a Path,
    cluster_program: &'a Path,
    public_host: &'a str,
    public_port: u16,
    gateway_probe: bool,
    host_reserve_bytes: u64,
    stop_clusters_on_exit: bool,
    #[serde(flatten)]
    walls: Option<ClusterWalls>,
}

#[derive(Serialize)]
struct ClusterWalls {
    uid_base: u32,
    uid_count: u32,
    gateway_gid: u32,
}

#[derive(Serialize)]
struct Gateway<'a> {
    listen: String,
    address_file: &'a Path,
    database_url_file: &'a Path,
    table_file: &'a Path,
    name: &'a str,
    region: &'a str,
    // As with the portal's rates: one address for everybody.
    max_half_open_per_address: u32,
    max_connections_per_address: u32,
    new_connections_per_second_per_address: u32,
    new_connections_burst_per_address: u32,
}

/// Paths that the files name.
pub struct Paths<'a> {
    /// The cluster program.
    pub cluster_program: &'a Path,
    /// The portal's signing key for access tokens.
    pub jwt_key: &'a Path,
    /// The signer's sealing key.
    pub sealing_key: &'a Path,
}

/// Where the gateway writes the address that it serves, once it does.
pub fn gateway_address_file(state: &State) -> PathBuf {
    state.path("gateway/address")
}

/// Writes all four files.
pub fn write(
    state: &State,
    options: &UpOptions,
    ports: Ports,
    walls: Option<Walls>,
    paths: &Paths<'_>,
) -> anyhow::Result<()> {
    let url = |program: &str| state.path(&url_file(program));
    let portal = Portal {
        listen: format!("127.0.0.1:{}", ports.portal),
        public_url: portal_url(ports),
        database_url_file: &url("portal"),
        owner_url_file: &url("owner"),
        jwt_key_file: paths.jwt_key,
        base_domain: BASE_DOMAIN,
        gateway_endpoint: gateway_endpoint(ports),
        runtime: "process",
        region: REGION,
        delete_grace_seconds: options.delete_grace_seconds,
        mail: Mail { kind: "outbox" },
        rates: Rates { sign_ups: 10_000, failed_sign_ins: 10_000, requests: 100_000 },
    };
    let signer = Signer { database_url_file: &url("signer"), key_file: paths.sealing_key };
    let provisioner = Provisioner {
        database_url_file: &url("provisioner"),
        host: "local",
        region: REGION,
        runtime: "process",
        clusters_dir: &state.path("clusters"),
        state_dir: &state.path("provisioner"),
        cluster_program: paths.cluster_program,
        public_host: "127.0.0.1",
        public_port: ports.gateway,
        gateway_probe: true,
        host_reserve_bytes: options.host_reserve_bytes,
        stop_clusters_on_exit: true,
        walls: walls.map(|walls| ClusterWalls {
            uid_base: walls.clusters,
            uid_count: walls.cluster_count,
            gateway_gid: walls.gateway,
        }),
    };
    let gateway = Gateway {
        listen: format!("127.0.0.1:{}", ports.gateway),
        address_file: &gateway_address_file(state),
        database_url_file: &url("gateway"),
        table_file: &state.path("gateway/routes.table"),
        name: "local",
        region: REGION,
        max_half_open_per_address: 10_000,
        max_connections_per_address: 100_000,
        new_connections_per_second_per_address: 10_000,
        new_connections_burst_per_address: 20_000,
    };
    write_one(state, "portal", &portal, walls.map(|walls| walls.portal))?;
    write_one(state, "signer", &signer, walls.map(|walls| walls.signer))?;
    write_one(state, "provisioner", &provisioner, None)?;
    write_one(state, "gateway", &gateway, walls.map(|walls| walls.gateway))
}

fn write_one(
    state: &State,
    program: &str,
    content: &impl Serialize,
    owner: Option<u32>,
) -> anyhow::Result<()> {
    state.write(&format!("configuration/{program}.toml"), toml::to_string(content)?.as_bytes(), owner)?;
    Ok(())
}

/// Where a browser finds the portal.
pub fn portal_url(ports: Ports) -> String {
    format!("http://127.0.0.1:{}", ports.portal)
}

/// Where clients find their clusters.
pub fn gateway_endpoint(ports: Ports) -> String {
    format!("127.0.0.1:{}", ports.gateway)
}
