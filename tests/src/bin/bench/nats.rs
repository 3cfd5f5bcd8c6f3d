//! NATS JetStream 2.15.2 as a peer: one server over mutual TLS that syncs each message, and a small client of ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::apart::Authority;
use e2e::guard::Guard;
use e2e::programs;
use e2e::wait::until_blocking;

use crate::kafka::{Latencies, free_port};

/// The name in its certificate.
const NAME: &str = "localhost";

/// A running server.
#[derive(Debug)]
pub struct Nats {
    guard: Guard,
    port: u16,
    programs: PathBuf,
}

impl Nats {
    pub fn start() -> anyhow::Result<Nats> {
        let programs = build()?;
        let folder = tempfile::Builder::new().prefix("fnats").tempdir_in("/tmp")?.keep();
        let guard = Guard::over(&folder, "nats-server", None)?;
        let authority = Authority::new()?;
        let leaf = authority.leaf(NAME)?;
        for (name, pem) in
            [("ca.crt", authority.pem()), ("tls.crt", &leaf.certificate), ("tls.key", &leaf.key)]
        {
            std::fs::write(folder.join(name), pem)?;
        }
        let nats = Nats { guard, port: free_port()?, programs };
        let file = folder.join("nats.conf");
        std::fs::write(&file, nats.configuration())?;
        let log = std::fs::File::create(folder.join("server.log"))?;
        Command::new(nats.programs.join("nats-server"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start nats-server")?;
        until_blocking("NATS listens", Duration::from_secs(30), || {
            std::net::TcpStream::connect(("127.0.0.1", nats.port)).ok().map(drop)
        })?;
        Ok(nats)
    }

    fn folder(&self) -> &Path {
        self.guard.folder()
    }

    fn configuration(&self) -> String {
        let (folder, port) = (self.folder(), self.port);
        format!(
            "listen: \"127.0.0.1:{port}\"\n\
             jetstream {{ store_dir: {:?}, sync_interval: always }}\n\
             tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
            folder.join("data"),
            folder.join("tls.crt"),
            folder.join("tls.key"),
            folder.join("ca.crt"),
        )
    }

    /// Publishes messages of so many bytes, one in flight: how long each took to its acknowledgement.
    pub fn publish(&self, stream: &str, bytes: usize, rounds: i32) -> anyhow::Result<Latencies> {
        let output = Command::new(self.programs.join("nats"))
            .arg(format!("tls://{NAME}:{}", self.port))
            .args(["ca.crt", "tls.crt", "tls.key"].map(|name| self.folder().join(name)))
            .args([stream, &bytes.to_string(), &rounds.to_string()])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Server and client, built from Go modules by their lockfile; Go itself knows what is built already.
fn build() -> anyhow::Result<PathBuf> {
    let built = programs::cache("nats")?;
    let status = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(format!("{}/", built.display()))
        .args([".", "github.com/nats-io/nats-server/v2"])
        .current_dir(programs::tests_folder().join("peers/nats"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly")
        .status()
        .context("Go is not installed\nfix: install Go 1.26 or newer and put it on PATH")?;
    ensure!(status.success(), "NATS could not be built from Go modules");
    Ok(built)
}
