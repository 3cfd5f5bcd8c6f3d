//! One server's process and its configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use super::{Authority, INTERNAL, LOST_AFTER_SECONDS, Leaf, START_WITHIN};
use crate::nets::Nets;
use crate::node::Owner;
use crate::programs;
use crate::wait::until;

/// A process, its folder, and the addresses that it bound.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) bound: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where servers are started, and whose they are.
pub(super) struct Ground {
    pub(super) folder: tempfile::TempDir,
    pub(super) owner: Owner,
    /// Networks of their own for the servers; without them all are on loopback.
    pub(super) nets: Option<Nets>,
    /// More lines for the SPUs' file.
    pub(super) more: String,
}

impl Ground {
    /// The SC, on these ports.
    pub(super) async fn start_sc(&self, [link, control]: [u16; 2]) -> anyhow::Result<Server> {
        let (file, bound) = (self.file("sc.toml"), self.file("sc.json"));
        let ip = self.ip("sc")?;
        let text = format!(
            "{}[sc]\npublic = [\"tcp:{ip}:0\"]\nlink = \"tcp:{ip}:{link}\"\ncontrol = \"tcp:{ip}:{control}\"\n\
             probe = \"tcp:127.0.0.1:0\"\naddress_file = {bound:?}\n\
             spu_lost_after_seconds = {LOST_AFTER_SECONDS}\n",
            self.head("internal")
        );
        std::fs::write(&file, text)?;
        self.start("sc", &["sc"], &file, &bound).await
    }

    /// An SPU with the internal certificate of this folder. All SPUs share one file but for that.
    pub(super) async fn start_spu(
        &self,
        name: &str,
        identity: &str,
        link: SocketAddr,
    ) -> anyhow::Result<Server> {
        let (file, bound) = (self.file(&format!("spu-{identity}.toml")), self.file(&format!("{name}.json")));
        // By name where it has one, as pods find it.
        let link = if self.nets.is_some() { link.to_string() } else { format!("localhost:{}", link.port()) };
        let ip = self.ip(name)?;
        let text = format!(
            "{}[spu]\npublic = [\"tcp:{ip}:0\"]\nlink = \"tcp:{link}\"\npeer = \"tcp:{ip}:0\"\n\
             probe = \"tcp:127.0.0.1:0\"\naddress_file = {bound:?}\n{}",
            self.head(identity),
            self.more,
        );
        std::fs::write(&file, text)?;
        self.start(name, &["spu", "--name", name], &file, &bound).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ip(&self, server: &str) -> anyhow::Result<Ipv4Addr> {
        self.nets.as_ref().map_or(Ok(Ipv4Addr::LOCALHOST), |nets| nets.ip(server))
    }

    fn head(&self, identity: &str) -> String {
        let internal = self.file(identity);
        format!(
            "role_dir_data = {:?}\ntenant = \"{}\"\ncluster = \"{}\"\nhost_reserve_bytes = 1048576\n\
             [internal]\ncertificate_file = {:?}\nkey_file = {:?}\nca_file = {:?}\nname = \"{INTERNAL}\"\n",
            self.file("data"),
            self.owner.tenant,
            self.owner.cluster,
            internal.join("tls.crt"),
            internal.join("tls.key"),
            internal.join("ca.crt"),
        )
    }

    async fn start(&self, server: &str, role: &[&str], file: &Path, bound: &Path) -> anyhow::Result<Server> {
        let _ = std::fs::remove_file(bound);
        let log = std::fs::File::create(self.file(&format!("{server}.log")))?;
        let program = programs::program("fluvio-cluster")?;
        let mut command = match &self.nets {
            Some(nets) => nets.command(server, &program),
            None => Command::new(program),
        };
        command.args(role).arg("--config").arg(file);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start fluvio-cluster")?;
        let mut server = Server { child, bound: Value::Null };
        server.bound = until("it listens", START_WITHIN, async || {
            let Ok(text) = std::fs::read_to_string(bound) else { return Ok(None) };
            Ok(Some(serde_json::from_str(&text)?))
        })
        .await
        .with_context(|| format!("{role:?}"))?;
        Ok(server)
    }
}

pub(super) fn write_identity(folder: &Path, trusted: &Authority, leaf: &Leaf) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("tls.crt"), &leaf.certificate)?;
    std::fs::write(folder.join("tls.key"), &leaf.key)?;
    std::fs::write(folder.join("ca.crt"), &trusted.pem)?;
    Ok(())
}

pub(super) fn address(bound: &Value) -> anyhow::Result<SocketAddr> {
    bound.as_str().with_context(|| format!("{bound} is not an address"))?.parse().map_err(Into::into)
}
