//! The configuration file: one TOML file named on the command line, unknown keys refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use cidr::IpInet;
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

use crate::db::roles::Role;

/// What `portal serve` reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// A file that gets the bound `host:port`, written atomically once the portal listens.
    pub address_file: Option<PathBuf>,
    /// How people's browsers name the portal. `https` makes cookies secure.
    pub public_url: String,
    /// A file with the database's URL.
    pub database_url_file: PathBuf,
    /// Read by `portal migrate` only; accepted here so that one file serves both commands.
    #[serde(rename = "owner_url_file")]
    pub _owner_url_file: Option<PathBuf>,
    /// As above.
    #[serde(default, rename = "role_password_files")]
    pub _role_password_files: BTreeMap<Role, PathBuf>,
    /// The P-256 key (PEM) that signs access tokens.
    pub jwt_key_file: PathBuf,
    /// Cluster domains are `<label>.<base_domain>`.
    pub base_domain: String,
    /// The address that profiles carry.
    pub gateway_endpoint: String,
    /// The runtime of new clusters.
    #[serde(default = "default_runtime")]
    pub runtime: String,
    /// The region of new clusters.
    #[serde(default = "default_region")]
    pub region: String,
    /// How long a deleted cluster can be had back.
    #[serde(default = "default_grace")]
    pub delete_grace_seconds: u32,
    /// How long new requests are served after a stop was asked for, while `/readyz` says no: the time that a load
    /// balancer needs to hear of it.
    #[serde(default)]
    pub drain_seconds: u32,
    /// Addresses or networks whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub trusted_proxies: Vec<IpInet>,
    /// TLS of the portal's own; without it only loopback or declared proxies may reach it.
    pub tls: Option<TlsConfig>,
    /// Where mail goes.
    pub mail: MailConfig,
    /// How fast strangers may try things.
    #[serde(default)]
    pub rates: RatesConfig,
}

/// The portal's own certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The chain, PEM.
    pub certificate_file: PathBuf,
    /// The key, PEM.
    pub key_file: PathBuf,
}

/// Where mail goes.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum MailConfig {
    /// Rows that the portals show on a page, for a cloud without a mail server. They hold the links that verify
    /// addresses, so whoever reads them can verify any address.
    Outbox {
        /// Addresses or networks that may read them; the machine itself when nothing is said.
        #[serde(default = "loopback")]
        readers: Vec<IpInet>,
    },
    /// A mail server.
    Smtp {
        /// Its name.
        host: String,
        /// Its port: 465 speaks TLS at once, any other must offer STARTTLS.
        port: u16,
        /// The sender's address.
        from: String,
        /// A file with the user name, where the server wants one.
        username_file: Option<PathBuf>,
        /// A file with the password.
        password_file: Option<PathBuf>,
    },
}

/// How fast strangers may try things, per client address. Defaults suit a public cloud.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatesConfig {
    /// Sign-ups at once; one more each `seconds_per_sign_up`.
    pub sign_ups: u32,
    /// Seconds until one more sign-up is allowed.
    pub seconds_per_sign_up: u32,
    /// Failed sign-ins at once; one more each second.
    pub failed_sign_ins: u32,
    /// Requests to the JSON API at once; two hundred more each second.
    pub requests: u32,
}

impl Default for RatesConfig {
    fn default() -> Self {
        RatesConfig { sign_ups: 60, seconds_per_sign_up: 10, failed_sign_ins: 100, requests: 2_000 }
    }
}

/// What `portal migrate` reads; other keys belong to `serve`.
#[derive(Debug, Deserialize)]
pub struct MigrateConfig {
    /// A file with the database's URL as its owner.
    pub owner_url_file: PathBuf,
    /// Files with the passwords of the programs' roles (`cloud_portal = "/path"`), where they log in with one.
    /// A role that is not named is left as it is.
    #[serde(default)]
    pub role_password_files: BTreeMap<Role, PathBuf>,
}

/// What `portal operator` reads; other keys belong to `serve`.
#[derive(Debug, Deserialize)]
pub struct OperatorConfig {
    /// A file with the database's URL.
    pub database_url_file: PathBuf,
}

fn default_runtime() -> String {
    "process".into()
}

fn default_region() -> String {
    "local".into()
}

fn loopback() -> Vec<IpInet> {
    ["127.0.0.0/8", "::1"].into_iter().filter_map(|network| network.parse().ok()).collect()
}

fn default_grace() -> u32 {
    7 * 24 * 3600
}

impl ServeConfig {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut config: ServeConfig = parse(path)?;
        config.public_url = config.public_url.trim_end_matches('/').to_owned();
        config.check().with_context(|| format!("in {}", path.display()))?;
        Ok(config)
    }

    /// Whether browsers reach the portal over https.
    pub fn secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    fn check(&self) -> anyhow::Result<()> {
        if !self.public_url.starts_with("https://") && !self.public_url.starts_with("http://") {
            bail!("public_url must start with https:// or http://");
        }
        if !matches!(self.runtime.as_str(), "process" | "kubernetes") {
            bail!("runtime is \"process\" or \"kubernetes\"");
        }
        if !is_domain(&self.base_domain) {
            bail!("base_domain must be a domain in lower case, such as fluvio.localhost");
        }
        let loopback = match self.listen.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        if !loopback && self.tls.is_none() && self.trusted_proxies.is_empty() {
            bail!(
                "listen = \"{}\" would serve passwords in plain text: add a [tls] section, name the proxy \
                 in front in trusted_proxies, or listen on 127.0.0.1",
                self.listen
            );
        }
        Ok(())
    }
}

impl MigrateConfig {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        parse(path)
    }
}

impl OperatorConfig {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        parse(path)
    }
}

/// Reads a database URL from its file.
pub fn database_options(file: &Path) -> anyhow::Result<PgConnectOptions> {
    let text = read_secret(file)?;
    // The parser's error may quote the URL, and with it the password.
    PgConnectOptions::from_str(&text).map_err(|_| anyhow::anyhow!("{} holds no Postgres URL", file.display()))
}

/// The contents of a file that holds one secret, without the newline at its end.
pub fn read_secret(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

fn is_domain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && text.split('.').all(|part| {
            !part.is_empty()
                && part.len() <= 63
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
        listen = "127.0.0.1:0"
        public_url = "http://127.0.0.1:8080"
        database_url_file = "db"
        jwt_key_file = "jwt"
        base_domain = "fluvio.localhost"
        gateway_endpoint = "127.0.0.1:9443"
        mail = { kind = "outbox" }
    "#;

    fn check(text: &str) -> Result<ServeConfig, String> {
        let config: ServeConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_contract_s_file_is_read_with_its_defaults() {
        let config = check(BASE).unwrap();
        assert_eq!((config.runtime.as_str(), config.region.as_str()), ("process", "local"));
        assert_eq!(config.delete_grace_seconds, 604_800);
        assert!(!config.secure());
    }

    #[test]
    fn faults_in_the_file_are_refused_with_their_name() {
        for (change, expected) in [
            ("colour = \"red\"", "unknown field"),
            ("role_password_files = { cloud_owner = \"p\" }", "unknown variant"),
            ("runtime = \"magic\"", "runtime is"),
            ("tls = { certificate_file = \"c\", key = \"k\" }", "unknown field"),
        ] {
            let error = check(&format!("{change}\n{BASE}")).unwrap_err();
            assert!(error.contains(expected), "{change}: {error}");
        }
        for (from, to, expected) in [
            ("http://127.0.0.1:8080", "ftp://x", "public_url"),
            ("fluvio.localhost", "Fluvio.Localhost", "base_domain"),
            ("127.0.0.1:0", "0.0.0.0:80", "plain text"),
        ] {
            let error = check(&BASE.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_declared_proxy_or_own_tls_opens_the_portal_to_the_network() {
        let open = BASE.replace("127.0.0.1:0", "0.0.0.0:80");
        assert!(check(&format!("trusted_proxies = [\"10.0.0.0/8\"]\n{open}")).is_ok());
        assert!(check(&format!("tls = {{ certificate_file = \"c\", key_file = \"k\" }}\n{open}")).is_ok());
    }
}
