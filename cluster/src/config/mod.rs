//! The configuration file of a cluster process: what cannot change while it runs. Everything else comes with
//! the settings.

mod address;
mod scrub;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use uuid::Uuid;

use crate::connection::ListenAddress;
use crate::internal::{Address, IdentityFiles};
use crate::sc::Owner;

pub use scrub::ScrubConfig;

/// One process: an SC, an SPU, or both.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder that holds `sc/` and one folder for each SPU.
    pub role_dir_data: PathBuf,
    /// The organisation that owns the cluster.
    pub tenant: Uuid,
    /// The cluster. Settings of another one are refused.
    pub cluster: Uuid,
    /// Bytes that must stay free on the disk: below it nothing more is stored.
    #[serde(default = "default_reserve")]
    pub host_reserve_bytes: u64,
    /// With what the cluster's servers know each other; wanted as soon as an internal socket is TCP.
    pub internal: Option<IdentityFiles>,
    /// The SC's part; absent in a process that is an SPU only.
    pub sc: Option<ScConfig>,
    /// The SPU's part; absent in a process that is the SC only.
    pub spu: Option<SpuConfig>,
}

/// The SC's sockets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScConfig {
    /// Where clients are met.
    #[serde(deserialize_with = "address::list")]
    pub public: Vec<ListenAddress>,
    /// Where the provisioner is met (HTTP).
    #[serde(deserialize_with = "address::internal")]
    pub control: Address,
    /// Where SPUs are met.
    #[serde(deserialize_with = "address::internal")]
    pub link: Address,
    /// Where anybody may ask whether it lives and serves (plain HTTP).
    #[serde(default, deserialize_with = "address::optional_tcp")]
    pub probe: Option<String>,
    /// Seconds after which an SPU that is away is lost, and its copies are made again elsewhere.
    #[serde(default = "default_lost_after")]
    pub spu_lost_after_seconds: u64,
    /// File to which the bound TCP addresses are written.
    pub address_file: Option<PathBuf>,
}

/// The SPU's sockets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpuConfig {
    /// Its name in the settings; `--name` goes before it.
    #[serde(default)]
    pub name: String,
    /// Where clients are met.
    #[serde(deserialize_with = "address::list")]
    pub public: Vec<ListenAddress>,
    /// The SC's socket for SPUs.
    #[serde(deserialize_with = "address::internal")]
    pub link: Address,
    /// Where the cluster's other SPUs are met; without it this SPU keeps no copies and follows nobody. `{name}` in it
    /// stands for the SPU's name, so that many can share one file.
    #[serde(default, deserialize_with = "address::optional_internal")]
    pub peer: Option<Address>,
    /// Where they reach that socket, if it is another address than the one that is bound.
    #[serde(default, deserialize_with = "address::optional_internal")]
    pub peer_address: Option<Address>,
    /// Bytes a second with which copies that move are brought up to what was there when they began; what is written
    /// after that, and copies that come back, are not held back.
    #[serde(default = "default_move_rate")]
    pub move_bytes_per_second: NonZeroU64,
    /// Health and metrics of an SPU that runs by itself.
    #[serde(default, deserialize_with = "address::optional_internal")]
    pub control: Option<Address>,
    /// Where anybody may ask whether it lives and serves (plain HTTP).
    #[serde(default, deserialize_with = "address::optional_tcp")]
    pub probe: Option<String>,
    /// File to which the bound TCP addresses are written.
    pub address_file: Option<PathBuf>,
    /// How it looks for what its disk did not keep.
    #[serde(default)]
    pub scrub: ScrubConfig,
}

/// What the process is asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// SC and one SPU.
    Node,
    /// SC only.
    Sc,
    /// SPU only.
    Spu,
}

/// The process cannot start with this file. Each text is whole: none has a source that would repeat it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// It is not TOML of the right shape.
    #[error("{path}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        reason: Box<toml::de::Error>,
    },
    /// It does not fit the command or contradicts itself.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What to change.
        problem: String,
    },
}

impl Config {
    /// Reads and checks the file. A name given here is the SPU's, so that many can share one file.
    pub fn load(path: &Path, role: Role, spu_name: Option<String>) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ConfigError::Read { path: path.into(), reason })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|reason| ConfigError::Syntax { path: path.into(), reason: Box::new(reason) })?;
        if let (Some(spu), Some(name)) = (&mut config.spu, spu_name) {
            spu.name = name;
        }
        if let Some(spu) = &mut config.spu {
            let name = spu.name.clone();
            for address in [&mut spu.peer, &mut spu.peer_address].into_iter().flatten() {
                *address = address.of_spu(&name);
            }
        }
        config.check(role).map_err(|problem| ConfigError::Content { path: path.into(), problem })?;
        Ok(config)
    }

    /// Whose cluster this is.
    pub fn owner(&self) -> Owner {
        Owner { tenant: self.tenant, cluster: self.cluster }
    }

    /// Folder of the SC's own files.
    pub fn sc_dir(&self) -> PathBuf {
        self.role_dir_data.join("sc")
    }

    /// Folder of an SPU's files.
    pub fn spu_dir(&self, name: &str) -> PathBuf {
        self.role_dir_data.join(name)
    }

    fn check(&self, role: Role) -> Result<(), String> {
        self.check_parts(role)?;
        let sc = self.sc.iter().flat_map(|sc| [&sc.control, &sc.link]);
        let spu = self.spu.iter().flat_map(|spu| [Some(&spu.link), spu.control.as_ref(), spu.peer.as_ref()]);
        let spu = spu.flatten();
        let tcp = sc.chain(spu).find(|address| matches!(address, Address::Tcp(_)));
        match (tcp, &self.internal) {
            (Some(tcp), None) => Err(format!("{tcp} needs the section [internal], which is missing")),
            _ => self.check_plaintext(),
        }
    }

    /// A cluster has TLS, all of it, or none.
    fn check_plaintext(&self) -> Result<(), String> {
        let sc = self.sc.iter().flat_map(|sc| &sc.public);
        let mut public = sc.chain(self.spu.iter().flat_map(|spu| &spu.public));
        let Some(plain) = public.clone().find(|address| address.is_plain()) else { return Ok(()) };
        if let Some(tls) = public.find(|address| !address.is_plain()) {
            return Err(format!(
                "{plain} has no TLS and {tls} has: a cluster has it on all its addresses or on none"
            ));
        }
        if self.internal.is_some() {
            return Err(format!("{plain} has no TLS, and the section [internal] is for a cluster that has"));
        }
        Ok(())
    }

    fn check_parts(&self, role: Role) -> Result<(), String> {
        let (wants_sc, wants_spu) = match role {
            Role::Node => (true, true),
            Role::Sc => (true, false),
            Role::Spu => (false, true),
        };
        match (&self.sc, wants_sc) {
            (None, true) => return Err("the section [sc] is missing".into()),
            (Some(_), false) => return Err("the section [sc] does not belong to an SPU".into()),
            (Some(sc), true) => sc.check()?,
            (None, false) => {}
        }
        match (&self.spu, wants_spu) {
            (None, true) => Err("the section [spu] is missing".into()),
            (Some(_), false) => Err("the section [spu] does not belong to an SC".into()),
            (Some(spu), true) => spu.check(),
            (None, false) => Ok(()),
        }
    }
}

impl ScConfig {
    fn check(&self) -> Result<(), String> {
        if self.public.is_empty() {
            return Err("sc.public names no listener".into());
        }
        Ok(())
    }
}

impl SpuConfig {
    fn check(&self) -> Result<(), String> {
        if self.public.is_empty() {
            return Err("spu.public names no listener".into());
        }
        self.scrub.check()?;
        // The name is a label of the SPU's TLS name and of its folder.
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 63 || !self.name.chars().all(label) || self.name == "sc"
        {
            return Err(format!(
                "spu.name {:?} is not a name of lower-case letters, digits and hyphens (\"sc\" is taken)",
                self.name
            ));
        }
        Ok(())
    }
}

fn default_reserve() -> u64 {
    1 << 30
}

/// Longer than a machine takes to start again, shorter than it takes to lose a second one.
fn default_lost_after() -> u64 {
    15 * 60
}

/// A fraction of what a disk or a network takes.
fn default_move_rate() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add((64 << 20) - 1)
}

#[cfg(test)]
mod tests;
