//! The configuration file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, ensure};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

/// `provisioner.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with the database's URL (role `cloud_provisioner`).
    pub database_url_file: PathBuf,
    /// The name of this machine; its clusters carry it.
    pub host: String,
    /// Clusters of this region are taken.
    pub region: String,
    /// How clusters run.
    pub runtime: Runtime,
    /// A folder per cluster: data, sockets, configuration.
    pub clusters_dir: PathBuf,
    /// Bookkeeping and the servers' keys; nobody else may read it.
    pub state_dir: PathBuf,
    /// The `fluvio-cluster` program.
    pub cluster_program: PathBuf,
    /// Where clients dial: the gateway's public host name or address.
    pub public_host: String,
    /// The gateway's public port.
    pub public_port: u16,
    /// Prove through the gateway that a client could use a cluster before it is called running.
    #[serde(default = "yes")]
    pub gateway_probe: bool,
    /// As root: the first of the users that clusters run as.
    #[serde(default = "default_uid_base")]
    pub uid_base: u32,
    /// How many of them there are.
    #[serde(default = "default_uid_count")]
    pub uid_count: u32,
    /// As root: the group of the gateway, which may reach the clusters' public sockets.
    pub gateway_gid: Option<u32>,
    /// Memory that a cluster process may have for data (heap, stacks): RLIMIT_DATA.
    #[serde(default = "default_memory_bytes")]
    pub memory_bytes: u64,
    /// Files and sockets that a cluster process may have open: RLIMIT_NOFILE.
    #[serde(default = "default_open_files")]
    pub open_files: u64,
    /// Free bytes on the disk below which a cluster accepts no more records.
    #[serde(default = "default_host_reserve_bytes")]
    pub host_reserve_bytes: u64,
    /// Life of a server certificate; renewed at two thirds of it.
    #[serde(default = "default_server_certificate_seconds")]
    pub server_certificate_seconds: u32,
    /// How long the folder of a cluster that the database does not know is kept. Its processes end at once,
    /// but a database that was restored from yesterday must not cost today's data.
    #[serde(default = "default_orphan_keep_seconds")]
    pub orphan_keep_seconds: u64,
    /// Stop the clusters when the provisioner is told to stop. Without it they go on, and the next
    /// provisioner adopts them.
    #[serde(default)]
    pub stop_clusters_on_exit: bool,
}

/// How clusters run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// As processes of this machine.
    Process,
}

fn yes() -> bool {
    true
}

/// Above what distributions give to people, services and containers by default.
fn default_uid_base() -> u32 {
    1_700_000_000
}

fn default_uid_count() -> u32 {
    65_536
}

fn default_memory_bytes() -> u64 {
    2 << 30
}

fn default_open_files() -> u64 {
    16_384
}

fn default_host_reserve_bytes() -> u64 {
    1 << 30
}

fn default_server_certificate_seconds() -> u32 {
    90 * 86_400
}

fn default_orphan_keep_seconds() -> u64 {
    7 * 86_400
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let config: Self = toml::from_str(&text)
            .with_context(|| format!("{} is not a valid configuration", path.display()))?;
        for (name, folder) in [("clusters_dir", &config.clusters_dir), ("state_dir", &config.state_dir)] {
            ensure!(folder.is_absolute(), "{name} must be an absolute path, it is {}", folder.display());
        }
        ensure!(config.cluster_program.is_absolute(), "cluster_program must be an absolute path");
        ensure!(config.uid_base > 0 && config.uid_count > 0, "uid_base and uid_count must be positive");
        ensure!(config.uid_base.checked_add(config.uid_count).is_some(), "uid_base + uid_count is too large");
        ensure!(
            (60..=34_560_000).contains(&config.server_certificate_seconds),
            "server_certificate_seconds must be between a minute and 400 days"
        );
        Ok(config)
    }

    /// This program, which starts itself to become a cluster process. By way of the kernel, so that it is the
    /// running version also after the file was replaced.
    pub fn launcher(&self) -> PathBuf {
        PathBuf::from("/proc/self/exe")
    }

    /// Where the database is. The URL may hold a password, so errors never repeat it.
    pub fn database(&self) -> anyhow::Result<PgConnectOptions> {
        let url = std::fs::read_to_string(&self.database_url_file)
            .with_context(|| format!("cannot read {}", self.database_url_file.display()))?;
        PgConnectOptions::from_str(url.trim())
            .map_err(|_| anyhow::anyhow!("{} does not hold a Postgres URL", self.database_url_file.display()))
    }
}
