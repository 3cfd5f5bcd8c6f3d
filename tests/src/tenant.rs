//! A person with a running cluster and a home folder that `fluvio cloud login` wrote its profile into.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use fluvio::config::{ConfigFile, TlsConfig, TlsPolicy};
use fluvio::{Fluvio, FluvioAdmin, FluvioClusterConfig};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::cloud::Cloud;
use crate::person::{Cluster, Person};
use crate::programs;
use crate::wait::within;

/// A command that takes longer hangs.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);

/// Somebody who owns a cluster and is logged in on a machine of their own.
#[derive(Debug)]
pub struct Tenant {
    pub person: Person,
    pub cluster: Cluster,
    /// The machine's home folder.
    pub home: tempfile::TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it printed, or an error with what it complained about.
    pub fn succeed(self) -> anyhow::Result<Ran> {
        if self.code != Some(0) {
            bail!("exit code {:?}\n{}\n{}", self.code, self.text(), self.stderr);
        }
        Ok(self)
    }
}

/// The keys and names of a profile, for connections made by hand.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub domain: String,
    pub key: String,
    pub certificate: String,
    pub ca: String,
}

impl Credentials {
    /// Those of a profile that holds them itself.
    pub fn of(profile: &FluvioClusterConfig) -> anyhow::Result<Credentials> {
        let TlsPolicy::Verified(TlsConfig::Inline(certs)) = profile.tls.clone() else {
            bail!("the profile has no inline certificates");
        };
        Ok(Credentials { domain: certs.domain, key: certs.key, certificate: certs.cert, ca: certs.ca_cert })
    }
}

impl Tenant {
    /// Signs up, waits for the first cluster and logs in with the command line.
    pub async fn new(cloud: &Cloud) -> anyhow::Result<Tenant> {
        Tenant::of(Person::sign_up(cloud).await?).await
    }

    /// The same for a person who exists.
    pub async fn of(person: Person) -> anyhow::Result<Tenant> {
        let cluster = person.first_cluster().await?;
        let tenant = Tenant { person, cluster, home: tempfile::tempdir()? };
        tenant.log_in().await?;
        Ok(tenant)
    }

    /// A second cluster of the same person, with a home folder of its own.
    pub async fn with_cluster(person: Person, name: &str, spus: u32) -> anyhow::Result<Tenant> {
        let cluster = person.create_cluster(name, spus).await?;
        let tenant = Tenant { person, cluster, home: tempfile::tempdir()? };
        tenant.log_in().await?;
        Ok(tenant)
    }

    /// `fluvio cloud login`, literally.
    pub async fn log_in(&self) -> anyhow::Result<Ran> {
        let (remote, email) = (self.person.browser.base.clone(), self.person.email.clone());
        let mut arguments = vec![
            "cloud",
            "login",
            "--remote",
            &remote,
            "--email",
            &email,
            "--password-stdin",
            "--cluster",
            &self.cluster.name,
        ];
        let authority = self.person.browser.authority.as_deref().map(|file| file.display().to_string());
        if let Some(file) = &authority {
            arguments.extend(["--ca-file", file]);
        }
        self.fluvio_with(&arguments, format!("{}\n", self.person.password).as_bytes()).await?.succeed()
    }

    /// Runs our `fluvio` in this tenant's home.
    pub async fn fluvio(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        self.fluvio_with(arguments, b"").await
    }

    /// The same with something on its standard input.
    pub async fn fluvio_with(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<Ran> {
        run(self.command("fluvio")?, arguments, input).await
    }

    /// A command of ours with this tenant's home, and nothing of the caller's environment that could leak in.
    pub fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(programs::program(program)?);
        command.env("HOME", self.home.path()).env_remove("FLV_PROFILE_PATH").env_remove("FLUVIO_DIR");
        Ok(command)
    }

    pub fn profile_path(&self) -> PathBuf {
        self.home.path().join(".fluvio/config")
    }

    /// The profile as the published client reads it.
    pub fn profile(&self) -> anyhow::Result<FluvioClusterConfig> {
        let path = self.profile_path().to_string_lossy().into_owned();
        Ok(ConfigFile::load(Some(path))?.config().current_cluster()?.clone())
    }

    /// What the profile proves identity with.
    pub fn credentials(&self) -> anyhow::Result<Credentials> {
        Credentials::of(&self.profile()?)
    }

    /// The published client, connected.
    pub async fn client(&self) -> anyhow::Result<Fluvio> {
        let profile = self.profile()?;
        within("the client connects", CONNECTED_WITHIN, Fluvio::connect_with_config(&profile)).await
    }

    /// The published client's admin connection.
    pub async fn admin(&self) -> anyhow::Result<FluvioAdmin> {
        let profile = self.profile()?;
        within("the admin client connects", CONNECTED_WITHIN, FluvioAdmin::connect_with_config(&profile))
            .await
    }
}

/// Runs `fluvio` with something on its standard input, and takes what it prints.
pub(crate) async fn run(mut fluvio: Command, arguments: &[&str], input: &[u8]) -> anyhow::Result<Ran> {
    let mut child = fluvio
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start fluvio")?;
    let mut stdin = child.stdin.take().context("a piped standard input")?;
    let input = input.to_vec();
    let feed = tokio::spawn(async move {
        // A command that ends early closes its input; what it printed says why.
        let _ = stdin.write_all(&input).await;
    });
    let what = format!("fluvio {}", arguments.join(" "));
    let output = within(&what, COMMAND_WITHIN, child.wait_with_output()).await?;
    feed.abort();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Ran { code: output.status.code(), stdout: output.stdout, stderr })
}
