//! A region of its own: a provisioner beside an embedded cloud, which keeps clusters on a Kubernetes that the test
//! holds. The embedded cloud lends its database and its signer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::Row;
use uuid::Uuid;

use crate::api_proxy::Kill;
use crate::cloud::Cloud;
use crate::guard::Guard;
use crate::programs;
use crate::wait::until;

/// Longer than anything here takes on a busy machine.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// Where a region's provisioner runs and what it works with.
#[derive(Debug, Clone)]
pub struct Site {
    /// The way to the API server.
    pub kubeconfig: PathBuf,
    /// The image of SC and SPU.
    pub image: String,
    /// Where the provisioner answers `/metrics`.
    pub metrics: Option<String>,
    /// How often a cluster's Secrets are looked at, in seconds.
    pub secrets_seconds: u32,
    /// How often a settled cluster is asked how it is, in seconds.
    pub health_seconds: u32,
    /// Where clients find its gateway, if it has one.
    pub gateway: Option<SocketAddr>,
}

/// See the module.
#[derive(Debug)]
pub struct Region {
    name: String,
    guard: Guard,
    child: Arc<Mutex<Option<Child>>>,
    organisation: Uuid,
}

/// A folder for a provisioner, which ends with it, however the test ends.
fn place() -> anyhow::Result<Guard> {
    let folder = tempfile::Builder::new().prefix("fcr").rand_bytes(6).tempdir_in("/tmp")?.keep();
    Guard::over(&folder, "provisioner", None)
}

impl Region {
    /// A region of that name; its provisioner is not started yet.
    pub async fn new(cloud: &Cloud, name: &str, site: Site) -> anyhow::Result<Region> {
        let guard = place()?;
        let database = cloud.state().join("secrets/provisioner.database-url");
        let text = format!(
            "database_url_file = '{}'\nhost = '{name}'\nregion = '{name}'\nruntime = 'kubernetes'\n\
             public_host = '127.0.0.1'\npublic_port = {}\ngateway_probe = false\n\
             {}[kubernetes]\nkubeconfig_file = '{}'\nimage = '{}'\n\
             gateway_namespace = 'fluvio-cloud'\ngateway_labels = {{ 'app.kubernetes.io/component' = 'gateway' }}\n\
             provisioner_namespace = 'fluvio-cloud'\nsecrets_seconds = {}\nhealth_seconds = {}\n",
            database.display(),
            site.gateway.map_or(9443, |address| address.port()),
            site.metrics.map(|address| format!("metrics_listen = '{address}'\n")).unwrap_or_default(),
            site.kubeconfig.display(),
            site.image,
            site.secrets_seconds,
            site.health_seconds,
        );
        let file = guard.folder().join("provisioner.toml");
        std::fs::write(file, text)?;
        let mut database = cloud.database().await?;
        let row = sqlx::query("INSERT INTO organisations (name) VALUES ('a region') RETURNING id");
        let organisation = row.fetch_one(&mut database).await?.get(0);
        Ok(Region { name: name.to_string(), guard, child: Arc::default(), organisation })
    }

    /// A further provisioner for the same clusters; it is not started yet.
    pub fn beside(&self, kubeconfig: &Path) -> anyhow::Result<Region> {
        let twin = Region {
            name: self.name.clone(),
            guard: place()?,
            child: Arc::default(),
            organisation: self.organisation,
        };
        std::fs::copy(self.settings(), twin.settings())?;
        twin.set(&["kubernetes", "kubeconfig_file"], &kubeconfig.display().to_string())?;
        twin.set(&["host"], &format!("{}-2", self.name))?;
        Ok(twin)
    }

    /// The image that clusters run from the provisioner's next start on.
    pub fn set_image(&self, image: &str) -> anyhow::Result<()> {
        self.set(&["kubernetes", "image"], image)
    }

    fn set(&self, key: &[&str], value: &str) -> anyhow::Result<()> {
        let mut table: toml::Table = std::fs::read_to_string(self.settings())?.parse()?;
        let (last, folders) = key.split_last().context("a key")?;
        let mut place = &mut table;
        for folder in folders {
            place = place.get_mut(*folder).and_then(toml::Value::as_table_mut).context("a table")?;
        }
        place.insert((*last).to_string(), value.into());
        Ok(std::fs::write(self.settings(), table.to_string())?)
    }

    fn settings(&self) -> PathBuf {
        self.guard.folder().join("provisioner.toml")
    }

    /// Starts the provisioner, or starts it again.
    pub fn start(&self) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let program = programs::program("provisioner")?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--config"])
            .arg(self.settings())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().context("cannot start the provisioner")?;
        *self.lock() = Some(child);
        Ok(())
    }

    /// kill -9 of the provisioner.
    pub fn kill(&self) {
        (self.killer())();
    }

    /// What kills it from elsewhere.
    pub fn killer(&self) -> Kill {
        let child = self.child.clone();
        Box::new(move || {
            if let Some(mut child) = child.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        })
    }

    /// The provisioner's process id.
    pub fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(Child::id)
    }

    /// What the provisioner logged.
    pub fn log(&self) -> PathBuf {
        self.guard.folder().join("log")
    }

    pub fn folder(&self) -> &Path {
        self.guard.folder()
    }

    /// Wants as many clusters, all in one statement.
    pub async fn want(&self, cloud: &Cloud, clusters: i32, spus: i32) -> anyhow::Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "INSERT INTO clusters (organisation_id, name, label, domain, runtime, region, spus)
             SELECT $1, 'c' || tag, 'c' || tag, 'c' || tag || '.fluvio.localhost', 'kubernetes', $2, $3
             FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS whole FROM generate_series(1, $4)) AS made,
                  LATERAL (SELECT left(whole, 16) AS tag) AS short
             RETURNING id",
        );
        let mut database = cloud.database().await?;
        let rows = rows
            .bind(self.organisation)
            .bind(&self.name)
            .bind(spus)
            .bind(clusters)
            .fetch_all(&mut database)
            .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        ensure!(ids.len() == usize::try_from(clusters)?, "{} clusters were made", ids.len());
        Ok(ids)
    }

    /// Wants a cluster gone, its data too.
    pub async fn want_gone(&self, cloud: &Cloud, cluster: Uuid) -> anyhow::Result<()> {
        let statement = sqlx::query(
            "UPDATE clusters SET deleted_at = now(), purge_after = now(), generation = generation + 1 WHERE id = $1",
        );
        statement.bind(cluster).execute(&mut cloud.database().await?).await?;
        Ok(())
    }

    /// Wants another number of SPUs.
    pub async fn want_spus(&self, cloud: &Cloud, cluster: Uuid, spus: i32) -> anyhow::Result<()> {
        let statement =
            sqlx::query("UPDATE clusters SET spus = $2, generation = generation + 1 WHERE id = $1");
        statement.bind(cluster).bind(spus).execute(&mut cloud.database().await?).await?;
        Ok(())
    }

    /// Waits for a state of a cluster.
    pub async fn until_state(&self, cloud: &Cloud, cluster: Uuid, state: &str) -> anyhow::Result<()> {
        let mut database = cloud.database().await?;
        let what = format!("the cluster is {state}");
        let waited = until(&what, SETTLED_WITHIN, async || {
            let row =
                sqlx::query("SELECT state, reason, last_error FROM cluster_status WHERE cluster_id = $1");
            let row = row.bind(cluster).fetch_optional(&mut database).await?.context("no status yet")?;
            let (found, reason, error): (String, String, Option<String>) =
                (row.get(0), row.get(1), row.get(2));
            ensure!(found == state, "it is {found}: {reason} {}", error.unwrap_or_default());
            Ok(Some(()))
        });
        waited.await.with_context(|| self.end_of_log())
    }

    /// Ends the leases of a provisioner that was killed: they would run out by themselves, half a minute later.
    pub async fn end_leases(&self, cloud: &Cloud) -> anyhow::Result<()> {
        let mut database = cloud.database().await?;
        let of_region = "UPDATE leases SET expires_at = now()
                         WHERE cluster_id IN (SELECT id FROM clusters WHERE region = $1)";
        sqlx::query(of_region).bind(&self.name).execute(&mut database).await?;
        Ok(())
    }

    /// Waits until the cluster's row is gone.
    pub async fn until_gone(&self, cloud: &Cloud, cluster: Uuid) -> anyhow::Result<()> {
        let mut database = cloud.database().await?;
        let waited = until("the cluster is gone", SETTLED_WITHIN, async || {
            let row = sqlx::query("SELECT id FROM clusters WHERE id = $1").bind(cluster);
            Ok(row.fetch_optional(&mut database).await?.is_none().then_some(()))
        });
        waited.await.with_context(|| self.end_of_log())
    }

    /// The end of the log, for the message of a failure.
    pub fn end_of_log(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.kill();
    }
}
