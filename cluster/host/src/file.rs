//! The configuration file of a cluster's server process, as whoever starts one on a host of its own writes it. The
//! servers read it with what else it may have (`cluster/src/config`).

use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

/// One process: an SC, an SPU, or both.
#[derive(Debug, Serialize)]
pub struct ServerFile<'a> {
    /// Folder that holds `sc/` and one folder for each SPU.
    pub role_dir_data: &'a Path,
    /// The organisation that owns the cluster.
    pub tenant: Uuid,
    /// The cluster.
    pub cluster: Uuid,
    /// Bytes that must stay free on the disk.
    pub host_reserve_bytes: u64,
    /// Absent in a process that is an SPU only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sc: Option<ScPart>,
    /// Absent in a process that is the SC only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spu: Option<SpuPart>,
}

/// The SC's sockets, each as `unix:PATH`, `tcp:ADDRESS` or `tcp+plain:ADDRESS`.
#[derive(Debug, Serialize)]
pub struct ScPart {
    /// Where clients are met.
    pub public: Vec<String>,
    /// Where settings are pushed.
    pub control: String,
    /// Where SPUs are met.
    pub link: String,
}

/// The SPU's sockets.
#[derive(Debug, Serialize)]
pub struct SpuPart {
    /// Its name in the settings.
    pub name: String,
    /// Where clients are met.
    pub public: Vec<String>,
    /// The SC's socket for SPUs.
    pub link: String,
    /// Where the cluster's other SPUs are met.
    pub peer: String,
    /// Health and metrics of an SPU that runs by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
}
