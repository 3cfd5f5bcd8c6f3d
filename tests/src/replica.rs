//! One more portal beside an embedded cloud's own, on the same database, as behind a load balancer.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use toml::Table;

use crate::cloud::Cloud;
use crate::processes::Process;
use crate::programs;
use crate::wait::until_blocking;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A portal of the caller's own; it ends when it is dropped.
#[derive(Debug)]
pub struct Replica {
    /// `host:port`.
    pub address: String,
    child: Child,
}

impl Replica {
    /// Starts a portal with the cloud's own configuration but for its port and what `change` changes.
    pub fn start(cloud: &Cloud, name: &str, change: impl FnOnce(&mut Table)) -> anyhow::Result<Replica> {
        let mut table: Table =
            std::fs::read_to_string(cloud.state().join("configuration/portal.toml"))?.parse()?;
        let published = cloud.state().join(format!("{name}.address"));
        let _ = std::fs::remove_file(&published);
        table.insert("listen".into(), "127.0.0.1:0".into());
        table.insert("address_file".into(), published.display().to_string().into());
        change(&mut table);
        let configuration = cloud.state().join(format!("{name}.toml"));
        std::fs::write(&configuration, table.to_string())?;
        let log = std::fs::File::create(cloud.state().join(format!("logs/{name}.log")))?;
        let child = Command::new(programs::program("portal")?)
            .args(["serve", "--config"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start a second portal")?;
        let mut replica = Replica { address: String::new(), child };
        replica.address = until_blocking("the second portal listens", READY_WITHIN, || {
            if let Ok(Some(status)) = replica.child.try_wait() {
                return Some(Err(anyhow::anyhow!("the second portal ended with {status}")));
            }
            std::fs::read_to_string(&published).ok().map(Ok)
        })?
        .with_context(|| cloud.tail(&format!("logs/{name}.log")))?;
        Ok(replica)
    }

    /// Its base address without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Process { pid: i32::try_from(self.child.id())?, arguments: Vec::new() }.signal(signal)
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        until_blocking("the second portal ends", READY_WITHIN, || self.child.try_wait().ok().flatten())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of the portal's program with the cloud's own configuration, as its operator does.
pub fn portal(cloud: &Cloud, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(programs::program("portal")?)
        .args(arguments)
        .arg("--config")
        .arg(cloud.state().join("configuration/portal.toml"))
        .output()?;
    if !output.status.success() {
        bail!("portal {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
