//! The configuration file.

mod kubernetes;
mod process;

pub use kubernetes::KubernetesConfig;
pub use process::ProcessConfig;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, ensure};
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

/// `provisioner.toml`, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// File with the database's URL (role `cloud_provisioner`).
    pub database_url_file: PathBuf,
    /// The name of this machine or pod; the machine's own, if the file does not say.
    pub host: String,
    /// Clusters of this region are taken.
    pub region: String,
    /// Where clients dial: the gateway's public host name or address.
    pub public_host: String,
    /// The gateway's public port.
    pub public_port: u16,
    /// Prove through the gateway that a client could use a cluster before it is called running.
    pub gateway_probe: bool,
    /// Life of a server certificate; renewed at two thirds of it.
    pub server_certificate_seconds: u32,
    /// How long the data of a cluster that the database does not know is kept. Its servers end at once, but a
    /// database that was restored from yesterday must not cost today's data.
    pub orphan_keep_seconds: u64,
    /// Where to answer `/livez`, `/readyz` and `/metrics`, over plain HTTP.
    pub metrics_listen: Option<SocketAddr>,
    /// How clusters run.
    pub runtime: Runtime,
}

/// How clusters run.
#[derive(Debug, Clone)]
pub enum Runtime {
    /// As processes of this machine.
    Process(ProcessConfig),
    /// As pods.
    Kubernetes(Box<KubernetesConfig>),
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    database_url_file: PathBuf,
    host: Option<String>,
    region: String,
    runtime: RuntimeName,
    public_host: String,
    public_port: u16,
    #[serde(default = "yes")]
    gateway_probe: bool,
    #[serde(default = "default_server_certificate_seconds")]
    server_certificate_seconds: u32,
    #[serde(default = "default_orphan_keep_seconds")]
    orphan_keep_seconds: u64,
    metrics_listen: Option<SocketAddr>,
    kubernetes: Option<Box<KubernetesConfig>>,
    clusters_dir: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    cluster_program: Option<PathBuf>,
    uid_base: Option<u32>,
    uid_count: Option<u32>,
    gateway_gid: Option<u32>,
    memory_bytes: Option<u64>,
    open_files: Option<u64>,
    host_reserve_bytes: Option<u64>,
    stop_clusters_on_exit: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RuntimeName {
    Process,
    Kubernetes,
}

/// The machine's own name; of a pod, the pod's.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn yes() -> bool {
    true
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
        Self::parse(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut file: File = toml::from_str(text)?;
        ensure!(
            (60..=34_560_000).contains(&file.server_certificate_seconds),
            "server_certificate_seconds must be between a minute and 400 days"
        );
        let runtime = match file.runtime {
            RuntimeName::Process => Runtime::Process(ProcessConfig::of(&mut file)?),
            RuntimeName::Kubernetes => {
                let kubernetes = file.kubernetes.take();
                let kubernetes = kubernetes.context("runtime \"kubernetes\" needs the table [kubernetes]")?;
                kubernetes.check()?;
                Runtime::Kubernetes(kubernetes)
            }
        };
        Ok(Self {
            database_url_file: file.database_url_file,
            host: file.host.unwrap_or_else(machine),
            region: file.region,
            public_host: file.public_host,
            public_port: file.public_port,
            gateway_probe: file.gateway_probe,
            server_certificate_seconds: file.server_certificate_seconds,
            orphan_keep_seconds: file.orphan_keep_seconds,
            metrics_listen: file.metrics_listen,
            runtime,
        })
    }

    /// Where the database is. The URL may hold a password, so errors never repeat it.
    pub fn database(&self) -> anyhow::Result<PgConnectOptions> {
        let url = std::fs::read_to_string(&self.database_url_file)
            .with_context(|| format!("cannot read {}", self.database_url_file.display()))?;
        PgConnectOptions::from_str(url.trim())
            .map_err(|_| anyhow::anyhow!("{} does not hold a Postgres URL", self.database_url_file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = r#"
        database_url_file = "/run/secrets/database/url"
        host = "provisioner-0"
        region = "home"
        public_host = "gateway.example.org"
        public_port = 9003
    "#;

    const POD: &str = r#"
        [kubernetes]
        image = "localhost/fluvio-cloud/cluster:0.1.0"
        gateway_namespace = "fluvio-cloud"
        gateway_labels = { "app.kubernetes.io/component" = "gateway" }
        provisioner_namespace = "fluvio-cloud"
    "#;

    #[test]
    fn each_runtime_needs_its_own_keys_only() {
        let pods = Config::parse(&format!("{COMMON}runtime = \"kubernetes\"\n{POD}")).unwrap();
        let Runtime::Kubernetes(kubernetes) = pods.runtime else { panic!("not kubernetes") };
        assert_eq!(kubernetes.service_account, "provisioner");
        assert_eq!(kubernetes.tenant_cluster_role, "fluvio-cloud-tenant");
        let folders = "clusters_dir = \"/c\"\nstate_dir = \"/s\"\ncluster_program = \"/bin/fluvio-cluster\"";
        let processes = Config::parse(&format!("{COMMON}runtime = \"process\"\n{folders}")).unwrap();
        assert!(matches!(processes.runtime, Runtime::Process(_)));
        for wrong in [
            format!("{COMMON}runtime = \"kubernetes\""),
            format!("{COMMON}runtime = \"process\""),
            format!("{COMMON}runtime = \"process\"\n{}", folders.replace("/c\"", "c\"")),
            format!("{COMMON}runtime = \"docker\"\n{POD}"),
            format!("{COMMON}runtime = \"kubernetes\"\n{POD}\nnonsense = 1"),
            format!("{COMMON}runtime = \"kubernetes\"\n{POD}\nzones = [\"sc\"]"),
            format!("{COMMON}runtime = \"kubernetes\"\n{POD}\nzones = [\"a\", \"a\"]"),
            format!("{COMMON}runtime = \"kubernetes\"\n{POD}\nzones = [\"Zone A\"]"),
        ] {
            assert!(Config::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
