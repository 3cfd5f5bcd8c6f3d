//! What only the runtime `process` needs.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::File;

/// The keys of the runtime `process`.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// A folder per cluster: data, sockets, configuration.
    pub clusters_dir: PathBuf,
    /// Bookkeeping and the servers' keys; nobody else may read it.
    pub state_dir: PathBuf,
    /// The `fluvio-cluster` program.
    pub cluster_program: PathBuf,
    /// As root: the first of the users that clusters run as.
    pub uid_base: u32,
    /// How many of them there are.
    pub uid_count: u32,
    /// As root: the group of the gateway, which may reach the clusters' public sockets.
    pub gateway_gid: Option<u32>,
    /// Memory that a cluster process may have for data (heap, stacks): RLIMIT_DATA.
    pub memory_bytes: u64,
    /// Files and sockets that a cluster process may have open: RLIMIT_NOFILE.
    pub open_files: u64,
    /// Free bytes on the disk below which a cluster accepts no more records.
    pub host_reserve_bytes: u64,
    /// Stop the clusters when the provisioner is told to stop. Without it they go on, and the next
    /// provisioner adopts them.
    pub stop_clusters_on_exit: bool,
}

impl ProcessConfig {
    pub(super) fn of(file: &mut File) -> anyhow::Result<Self> {
        let folder = |name: &str, folder: Option<PathBuf>| {
            let folder = folder.with_context(|| format!("runtime \"process\" needs {name}"))?;
            ensure!(folder.is_absolute(), "{name} must be an absolute path, it is {}", folder.display());
            Ok(folder)
        };
        let config = Self {
            clusters_dir: folder("clusters_dir", file.clusters_dir.take())?,
            state_dir: folder("state_dir", file.state_dir.take())?,
            cluster_program: folder("cluster_program", file.cluster_program.take())?,
            // Above what distributions give to people, services and containers by default.
            uid_base: file.uid_base.unwrap_or(1_700_000_000),
            uid_count: file.uid_count.unwrap_or(65_536),
            gateway_gid: file.gateway_gid,
            memory_bytes: file.memory_bytes.unwrap_or(2 << 30),
            open_files: file.open_files.unwrap_or(16_384),
            host_reserve_bytes: file.host_reserve_bytes.unwrap_or(1 << 30),
            stop_clusters_on_exit: file.stop_clusters_on_exit.unwrap_or(false),
        };
        ensure!(config.uid_base > 0 && config.uid_count > 0, "uid_base and uid_count must be positive");
        ensure!(config.uid_base.checked_add(config.uid_count).is_some(), "uid_base + uid_count is too large");
        Ok(config)
    }

    /// This program, which starts itself to become a cluster process. By way of the kernel, so that it is the
    /// running version also after the file was replaced.
    pub fn launcher(&self) -> PathBuf {
        PathBuf::from("/proc/self/exe")
    }
}
