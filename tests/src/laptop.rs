//! Somebody who runs a cluster on a machine of their own, without any cloud.

use std::path::PathBuf;

use anyhow::Context;
use fluvio::config::ConfigFile;
use fluvio::{Fluvio, FluvioAdmin, FluvioClusterConfig};
use serde_json::Value;
use tokio::process::Command;

use crate::processes::{Process, that_mention};
use crate::programs;
use crate::stream::STEP_WITHIN;
use crate::tenant::{Ran, run};
use crate::wait::within;

/// A machine with nothing on it but our programs. Its cluster ends with it.
#[derive(Debug)]
pub struct Laptop {
    pub home: tempfile::TempDir,
}

impl Laptop {
    pub fn new() -> anyhow::Result<Laptop> {
        Ok(Laptop { home: tempfile::Builder::new().prefix("fl").tempdir()? })
    }

    /// Runs our `fluvio` here.
    pub async fn fluvio(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        self.fluvio_with(arguments, b"").await
    }

    /// The same with something on its standard input.
    pub async fn fluvio_with(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<Ran> {
        let mut command = Command::new(programs::program("fluvio")?);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_DATA_HOME", self.home.path().join("share"));
        run(command, arguments, input).await
    }

    /// `fluvio cluster start` on ports that are free, with these options.
    pub async fn start(&self, options: &[&str]) -> anyhow::Result<Ran> {
        let arguments = [&["cluster", "start", "--port", "0"], options].concat();
        self.fluvio(&arguments).await?.succeed()
    }

    /// What `fluvio cluster status` says, and its exit code.
    pub async fn status(&self) -> anyhow::Result<(Option<i32>, Value)> {
        let ran = self.fluvio(&["cluster", "status", "-O", "json"]).await?;
        let said = serde_json::from_slice(&ran.stdout).with_context(|| ran.stderr.clone())?;
        Ok((ran.code, said))
    }

    /// The process of a server, as the status tells it.
    pub async fn server(&self, name: &str) -> anyhow::Result<Process> {
        let (_, status) = self.status().await?;
        let servers = status["servers"].as_array().context("the status lists servers")?;
        let found = servers.iter().find(|server| server["name"] == name);
        let pid = found.and_then(|server| server["pid"].as_i64()).with_context(|| status.to_string())?;
        Ok(Process { pid: i32::try_from(pid)?, arguments: vec!["fluvio-cluster".to_string()] })
    }

    /// Every server that runs here.
    pub fn servers(&self) -> Vec<Process> {
        let all = that_mention(self.home.path());
        all.into_iter().filter(|process| process.program() == "fluvio-cluster").collect()
    }

    /// The folder of the cluster.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("share/fluvio/local")
    }

    pub fn profile_path(&self) -> PathBuf {
        self.home.path().join(".fluvio/config")
    }

    /// The profile `local` as the published client reads it.
    pub fn profile(&self) -> anyhow::Result<FluvioClusterConfig> {
        let file = ConfigFile::load(Some(self.profile_path().to_string_lossy().into_owned()))?;
        let config = file.config();
        anyhow::ensure!(config.current_profile_name() == Some("local"), "local is not current");
        config.cluster_with_profile("local").cloned().context("a profile named local")
    }

    /// The published client, connected.
    pub async fn client(&self) -> anyhow::Result<Fluvio> {
        within("the client connects", STEP_WITHIN, Fluvio::connect_with_config(&self.profile()?)).await
    }

    /// The published client's admin connection.
    pub async fn admin(&self) -> anyhow::Result<FluvioAdmin> {
        within("the admin client connects", STEP_WITHIN, FluvioAdmin::connect_with_config(&self.profile()?))
            .await
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        for process in self.servers() {
            // Gone already is as good.
            let _ = process.kill();
        }
    }
}
