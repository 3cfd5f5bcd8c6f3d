//! The configuration file: TOML, unknown keys refused, every key but three with a default.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cidr::IpInet;
use serde::Deserialize;

/// What the gateway is told by its operator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the public port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the bound `host:port` is written, for those who chose port 0.
    #[serde(default)]
    pub address_file: Option<PathBuf>,
    /// File with the database URL of the role `cloud_gateway`.
    pub database_url_file: PathBuf,
    /// Where the last table is kept, so that a start without Postgres serves everyone.
    pub table_file: PathBuf,
    /// This gateway's name in the `usage` table: the host's, when nothing is said. No two running gateways may
    /// share one.
    #[serde(default = "default_name")]
    pub name: String,
    /// Its clusters' region; without one, clusters of all regions are served.
    #[serde(default)]
    pub region: Option<String>,
    /// Load balancers: addresses or networks that must begin each connection with a PROXY header of version 2,
    /// whose client then counts. From all others such a header is refused.
    #[serde(default)]
    pub trusted_proxies: Vec<IpInet>,
    /// Address of `/metrics`, `/livez` and `/readyz`; absent means that none is served.
    #[serde(default)]
    pub metrics_listen: Option<SocketAddr>,
    /// Where the bound address of `metrics_listen` is written.
    #[serde(default)]
    pub metrics_address_file: Option<PathBuf>,

    /// Time from accept to a whole hello.
    #[serde(default = "default_handshake_timeout_ms")]
    pub handshake_timeout_ms: u64,
    /// Time for a cluster's server to answer the hello, before another of the cluster is given it. Longer than a busy
    /// server needs: this is for one that has been stopped.
    #[serde(default = "default_answer_timeout_ms")]
    pub answer_timeout_ms: u64,
    /// Time to connect to a cluster's server and hand it the hello.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time for which a server that is away, and those that may answer for it, are called again before the client is
    /// refused: a server that is started again is a pause for new connections and no error.
    #[serde(default = "default_server_away_timeout_ms")]
    pub server_away_timeout_ms: u64,
    /// Time without a byte in either direction after which a connection is cut; 0 means never, because a
    /// consumer that waits for records is silent for as long as its topic is.
    #[serde(default)]
    pub idle_timeout_s: u64,
    /// Time for which one side may refuse to take bytes that wait for it.
    #[serde(default = "default_write_timeout_s")]
    pub write_timeout_s: u64,
    /// Time without a byte after one side has said that it sends no more.
    #[serde(default = "default_half_close_timeout_s")]
    pub half_close_timeout_s: u64,

    /// Time for which a cluster's server on the network may leave bytes unacknowledged before it counts as dead.
    #[serde(default = "default_server_silence_s")]
    pub server_silence_s: u64,
    /// After SIGTERM: how long new connections are still taken, while `/readyz` says no. The time that a load
    /// balancer needs to hear of it.
    #[serde(default)]
    pub unready_seconds: u64,
    /// After that: how long connections may go on before they are closed. A second signal ends both waits.
    #[serde(default)]
    pub drain_seconds: u64,

    /// Connections in all; 0 means as many as the open-file limit carries.
    #[serde(default)]
    pub max_connections: usize,
    /// Connections that have not sent a whole hello. The oldest gives way to the newest.
    #[serde(default = "default_max_half_open")]
    pub max_half_open: usize,
    /// The same for one client address.
    #[serde(default = "default_max_half_open_per_address")]
    pub max_half_open_per_address: u32,
    /// Connections of one client address (IPv6: of one /64).
    #[serde(default = "default_max_connections_per_address")]
    pub max_connections_per_address: u32,
    /// New connections per second of one client address, in the long run.
    #[serde(default = "default_rate_per_address")]
    pub new_connections_per_second_per_address: u32,
    /// How many of them may come at once.
    #[serde(default = "default_burst_per_address")]
    pub new_connections_burst_per_address: u32,
    /// New connections per second of one cluster, in the long run.
    #[serde(default = "default_rate_per_cluster")]
    pub new_connections_per_second_per_cluster: u32,
    /// How many of them may come at once.
    #[serde(default = "default_burst_per_cluster")]
    pub new_connections_burst_per_cluster: u32,
    /// Large copy buffers (64 KiB each) for connections that move bytes right now. Beyond them small ones
    /// serve, so that nobody waits for memory.
    #[serde(default = "default_buffers")]
    pub copy_buffers: usize,
}

/// In a set of gateways that share a configuration nothing but the host's name differs.
fn default_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(63).collect()
}
fn default_handshake_timeout_ms() -> u64 {
    5_000
}
fn default_answer_timeout_ms() -> u64 {
    10_000
}
fn default_connect_timeout_ms() -> u64 {
    2_000
}
fn default_server_away_timeout_ms() -> u64 {
    5_000
}
fn default_write_timeout_s() -> u64 {
    600
}
fn default_half_close_timeout_s() -> u64 {
    30
}
fn default_server_silence_s() -> u64 {
    60
}
fn default_max_half_open() -> usize {
    10_000
}
fn default_max_half_open_per_address() -> u32 {
    500
}
fn default_max_connections_per_address() -> u32 {
    2_000
}
fn default_rate_per_address() -> u32 {
    200
}
fn default_burst_per_address() -> u32 {
    1_000
}
fn default_rate_per_cluster() -> u32 {
    200
}
fn default_burst_per_cluster() -> u32 {
    500
}
fn default_buffers() -> usize {
    256
}

/// Why a configuration is not usable. Each tells the operator what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file named on the command line.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of the expected shape.
    #[error("{path} is not a gateway configuration: {source}")]
    Parse {
        /// The file named on the command line.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value is outside what works.
    #[error("{key} must be {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it may be.
        expected: &'static str,
    },
}

impl Config {
    /// A client's address stands in a header of whoever comes from here.
    pub fn is_balancer(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&peer.to_canonical()))
    }

    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| match error {
            ConfigError::Parse { source, .. } => ConfigError::Parse { path: path.to_owned(), source },
            other => other,
        })
    }

    /// Reads and checks the text of a configuration file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)
            .map_err(|source| ConfigError::Parse { path: PathBuf::new(), source: Box::new(source) })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let positive = "at least 1";
        let at_least_one = [
            ("handshake_timeout_ms", self.handshake_timeout_ms),
            ("answer_timeout_ms", self.answer_timeout_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("write_timeout_s", self.write_timeout_s),
            ("half_close_timeout_s", self.half_close_timeout_s),
            ("server_silence_s", self.server_silence_s),
            ("max_half_open", self.max_half_open as u64),
            ("max_half_open_per_address", self.max_half_open_per_address.into()),
            ("max_connections_per_address", self.max_connections_per_address.into()),
            ("new_connections_per_second_per_address", self.new_connections_per_second_per_address.into()),
            ("new_connections_burst_per_address", self.new_connections_burst_per_address.into()),
            ("new_connections_per_second_per_cluster", self.new_connections_per_second_per_cluster.into()),
            ("new_connections_burst_per_cluster", self.new_connections_burst_per_cluster.into()),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Value { key, expected: positive });
        }
        if self.name.is_empty() || self.name.len() > 63 {
            return Err(ConfigError::Value {
                key: "name",
                expected: "1 to 63 bytes long, and given where the host has no name",
            });
        }
        Ok(())
    }

    /// Time from accept to a whole hello.
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    /// Time for a server to answer the hello.
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms)
    }

    /// Time to reach a cluster's server.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long a server that is away is called again.
    pub fn server_away_timeout(&self) -> Duration {
        Duration::from_millis(self.server_away_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "listen = '127.0.0.1:0'\ndatabase_url_file = '/d'\ntable_file = '/t'\n";

    #[test]
    fn a_balancer_s_address_is_one_of_its_networks_however_it_is_written() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "9.9.9.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let config = Config::parse(&format!("{LEAST}trusted_proxies = ['{network}']")).unwrap();
            assert_eq!(config.is_balancer(address.parse().unwrap()), inside, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "x", "::/129", "1.2.3.4/-1", "1.2.3.4/"] {
            assert!(Config::parse(&format!("{LEAST}trusted_proxies = ['{bad}']")).is_err(), "{bad}");
        }
    }

    #[test]
    fn three_keys_are_enough() {
        let config = Config::parse(LEAST).unwrap();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(config.name, host.trim());
        assert_eq!(config.handshake_timeout(), Duration::from_secs(5));
        assert_eq!(config.idle_timeout_s, 0);
    }

    #[test]
    fn an_unknown_key_or_a_useless_value_is_refused_by_name() {
        for (line, word) in [
            ("max_conections = 5", "max_conections"),
            ("handshake_timeout_ms = 0", "handshake_timeout_ms"),
            ("new_connections_burst_per_cluster = 0", "new_connections_burst_per_cluster"),
            ("name = ''", "name"),
            ("trusted_proxies = ['10.0.0.0/33']", "10.0.0.0/33"),
        ] {
            let error = Config::parse(&format!("{LEAST}{line}\n")).unwrap_err().to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
