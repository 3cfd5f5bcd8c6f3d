//! The configuration file.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;

/// `signer.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with the database's URL (role `cloud_signer`).
    pub database_url_file: PathBuf,
    /// File with the 32 bytes under which CA keys are sealed.
    pub key_file: PathBuf,
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    /// Where the database is. The URL may hold a password, so errors never repeat it.
    pub fn database(&self) -> anyhow::Result<PgConnectOptions> {
        let url = std::fs::read_to_string(&self.database_url_file)
            .with_context(|| format!("cannot read {}", self.database_url_file.display()))?;
        PgConnectOptions::from_str(url.trim())
            .map_err(|_| anyhow::anyhow!("{} does not hold a Postgres URL", self.database_url_file.display()))
    }
}
