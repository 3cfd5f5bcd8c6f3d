//! A provisioner in a world of its own: Postgres, somebody who signs, and a stand-in for the cluster program.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up its world fails")]

mod signer;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use provisioner::folder::Place;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use sqlx::{PgPool, Row};
use tokio::task::JoinHandle;
use uuid::Uuid;

use test_postgres::Postgres;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

pub struct World {
    pub postgres: Postgres,
    pub owner: PgPool,
    pub folder: tempfile::TempDir,
    signer: JoinHandle<()>,
    provisioner: Option<Child>,
    organisation: Uuid,
}

impl World {
    /// Everything, with a provisioner at work.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With further configuration.
    pub async fn with(config: &str) -> Self {
        let postgres = Postgres::start().await;
        let owner = postgres.connect("postgres").await;
        let signer = tokio::spawn(signer::answer_for_ever(postgres.connect("cloud_signer").await));
        let folder = tempfile::Builder::new().prefix("prov").tempdir().unwrap();
        // The tenants' users pass through.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let program = folder.path().join("fake-cluster");
        std::fs::write(&program, include_str!("fake_cluster.py")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let row = sqlx::query("INSERT INTO organisations (name) VALUES ('a') RETURNING id");
        let organisation = row.fetch_one(&owner).await.unwrap().get(0);
        let mut world = Self { postgres, owner, folder, signer, provisioner: None, organisation };
        world.configure(config);
        world.start();
        world
    }

    pub fn configure(&self, config: &str) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        std::fs::write(path("url"), self.postgres.url("cloud_provisioner")).unwrap();
        let text = format!(
            "database_url_file = '{}'\nhost = 'here'\nregion = 'local'\nruntime = 'process'\n\
             clusters_dir = '{}'\nstate_dir = '{}'\ncluster_program = '{}'\n\
             public_host = '127.0.0.1'\npublic_port = 9443\ngateway_probe = false\n{config}\n",
            path("url"),
            path("clusters"),
            path("state"),
            path("fake-cluster"),
        );
        std::fs::write(path("provisioner.toml"), text).unwrap();
    }

    pub fn start(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_provisioner"))
            .args(["serve", "--config"])
            .arg(self.folder.path().join("provisioner.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.provisioner = Some(child);
    }

    /// Ends the provisioner with a signal and waits for it.
    pub fn end(&mut self, signal: Signal) {
        let mut child = self.provisioner.take().unwrap();
        rustix::process::kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    pub async fn cluster(&self, name: &str, spus: i32) -> Uuid {
        let row = sqlx::query(
            "INSERT INTO clusters (organisation_id, name, label, domain, runtime, region, spus)
             VALUES ($1, $2, $2, $2 || '.fluvio.localhost', 'process', 'local', $3) RETURNING id",
        );
        row.bind(self.organisation).bind(name).bind(spus).fetch_one(&self.owner).await.unwrap().get(0)
    }

    pub async fn sql(&self, text: &'static str, cluster: Uuid) {
        sqlx::query(text).bind(cluster).execute(&self.owner).await.unwrap();
    }

    /// A principal of the cluster.
    pub async fn principal(&self, cluster: Uuid) -> Uuid {
        let user = sqlx::query("INSERT INTO users (email, password_hash) VALUES ($1, '') RETURNING id");
        let user: Uuid = user.bind(Uuid::new_v4().to_string()).fetch_one(&self.owner).await.unwrap().get(0);
        let row = sqlx::query(
            "INSERT INTO access_entries (cluster_id, user_id, role) VALUES ($1, $2, 'user') RETURNING principal_id",
        );
        row.bind(cluster).bind(user).fetch_one(&self.owner).await.unwrap().get(0)
    }

    pub async fn state(&self, cluster: Uuid) -> Option<String> {
        let row = sqlx::query("SELECT state FROM cluster_status WHERE cluster_id = $1");
        row.bind(cluster).fetch_optional(&self.owner).await.ok()?.map(|row| row.get(0))
    }

    pub async fn until_state(&self, cluster: Uuid, state: &str) {
        self.until(&format!("the cluster is {state}"), async || {
            self.state(cluster).await.as_deref() == Some(state)
        })
        .await;
    }

    /// Waits for a condition; says what the provisioner said when it does not come.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !holds().await {
            if Instant::now() > end {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
                panic!("not within {DEADLINE:?}: {what}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn one(&self, text: &'static str, cluster: Uuid) -> i64 {
        sqlx::query(text).bind(cluster).fetch_one(&self.owner).await.unwrap().get(0)
    }

    pub fn place(&self, cluster: Uuid) -> Place {
        Place::new(&self.folder.path().join("clusters"), cluster)
    }

    pub fn shelf(&self, cluster: Uuid) -> PathBuf {
        self.folder.path().join("state/clusters").join(cluster.simple().to_string())
    }

    /// The settings that the cluster has.
    pub fn settings(&self, cluster: Uuid) -> Option<Value> {
        let text = std::fs::read(self.place(cluster).data().join("sc/settings.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The running processes of a cluster: role and process id, found by their command lines.
    pub fn processes(&self, cluster: Uuid) -> Vec<(String, i32)> {
        let config = self.place(cluster).path().join("config").display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // Not the launcher, which has the same words on its command line.
            if line.contains(&config) && !line.contains(" launch ") {
                let file = line.trim_end().rsplit('/').next().unwrap().to_owned();
                found.push((file.trim_end_matches(".toml").to_owned(), pid));
            }
        }
        found.sort();
        found
    }

    pub fn roles(&self, cluster: Uuid) -> Vec<String> {
        self.processes(cluster).into_iter().map(|(role, _)| role).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.signer.abort();
        if let Some(mut child) = self.provisioner.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let ours = self.folder.path().display().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if String::from_utf8_lossy(&line).contains(&ours)
                && let Some(pid) = pid.and_then(Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

pub fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}
