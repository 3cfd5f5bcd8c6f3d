//! An embedded cloud: the built `fluvio-cloud-local up` in a state folder of its own.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use crate::guard::Guard;
use crate::processes::{self, Process};
use crate::programs;
use crate::wait::{self, until_blocking};

/// From start to ready; a debug build on a busy machine included.
const READY_WITHIN: Duration = Duration::from_secs(60);

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the embedded cloud writes when it is up.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    pub portal_url: String,
    pub gateway: String,
    pub pid: i32,
    pub postgres_socket_dir: Option<PathBuf>,
}

/// What a cluster may not exceed.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    Storage,
    Partitions,
    Connections,
}

/// A running cloud.
#[derive(Debug)]
pub struct Cloud {
    name: String,
    options: Vec<String>,
    ready: Mutex<Ready>,
    child: Mutex<Option<Child>>,
    guard: Guard,
}

impl Cloud {
    /// A fresh cloud of the caller's own, gone when it is dropped.
    pub fn start(name: &str, options: &[&str]) -> anyhow::Result<Cloud> {
        // Unix sockets below it have short paths.
        let folder = tempfile::Builder::new().prefix("fc").rand_bytes(6).tempdir_in("/tmp")?.keep();
        Cloud::start_in(name, folder, options)
    }

    /// The same in a folder of the caller's choice, which is removed with the cloud.
    pub fn start_in(name: &str, folder: PathBuf, options: &[&str]) -> anyhow::Result<Cloud> {
        std::fs::create_dir_all(&folder)?;
        let keep = programs::output("logs")?.join(name);
        let guard = Guard::over(&folder, "fluvio-cloud-local", Some(&keep))?;
        let options = options.iter().map(|each| (*each).to_string()).collect();
        let placeholder =
            Ready { portal_url: String::new(), gateway: String::new(), pid: 0, postgres_socket_dir: None };
        let cloud = Cloud {
            name: name.to_string(),
            options,
            ready: Mutex::new(placeholder),
            child: Mutex::new(None),
            guard,
        };
        cloud.up()?;
        Ok(cloud)
    }

    /// The cloud that most tests share. It ends with the process.
    pub fn shared() -> anyhow::Result<&'static Cloud> {
        static SHARED: OnceLock<Result<Cloud, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Cloud::start("shared", &[]).map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("the shared cloud did not start: {error}"))
    }

    /// Only one test with a cloud of its own runs at a time: two cores cannot carry more.
    pub async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
        TURN.lock().await
    }

    /// The same for a test without a runtime.
    pub fn turn_blocking() -> tokio::sync::MutexGuard<'static, ()> {
        TURN.blocking_lock()
    }

    /// Starts it on its folder, again after [`Cloud::kill_supervisor`] or [`Cloud::stop`]; returns how long it took.
    pub fn up(&self) -> anyhow::Result<Duration> {
        let _ = std::fs::remove_file(self.state().join("ready.json"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.state().join("up.log"))?;
        let begun = Instant::now();
        let child = Command::new(programs::program("fluvio-cloud-local")?)
            .args(["up", "--portal-port", "0", "--gateway-port", "0", "--state"])
            .arg(self.state())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start fluvio-cloud-local")?;
        *lock(&self.child) = Some(child);
        let ready = until_blocking("the cloud is up", READY_WITHIN, || {
            if let Some(status) = self.exited() {
                return Some(Err(anyhow::anyhow!("fluvio-cloud-local ended with {status}")));
            }
            let text = std::fs::read_to_string(self.state().join("ready.json")).ok()?;
            serde_json::from_str::<Ready>(&text).ok().map(Ok)
        });
        let took = begun.elapsed();
        match ready {
            Ok(Ok(ready)) => *lock(&self.ready) = ready,
            Ok(Err(error)) | Err(error) => bail!("{error:#}\n{}", self.tail("up.log")),
        }
        Ok(took)
    }

    fn exited(&self) -> Option<std::process::ExitStatus> {
        lock(&self.child).as_mut()?.try_wait().ok()?
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn state(&self) -> &Path {
        self.guard.folder()
    }

    /// The portal's URL, without a slash at the end.
    pub fn portal(&self) -> String {
        lock(&self.ready).portal_url.trim_end_matches('/').to_string()
    }

    pub fn gateway(&self) -> anyhow::Result<SocketAddr> {
        let text = lock(&self.ready).gateway.clone();
        text.parse().with_context(|| format!("{text} is not an address"))
    }

    /// Every process of this cloud.
    pub fn processes(&self) -> Vec<Process> {
        processes::that_mention(self.state())
    }

    /// The processes of one program: `portal`, `signer`, `provisioner`, `gateway`, `postgres`, `fluvio-cluster`.
    pub fn program(&self, name: &str) -> Vec<Process> {
        self.processes().into_iter().filter(|process| process.program() == name).collect()
    }

    /// The processes of one cluster.
    pub fn cluster(&self, id: &str) -> Vec<Process> {
        let folder = id.replace('-', "");
        self.program("fluvio-cluster").into_iter().filter(|process| process.mentions(&folder)).collect()
    }

    /// The process of one of its servers: `sc`, `main-0`.
    pub fn server(&self, id: &str, name: &str) -> anyhow::Result<Process> {
        let (found, file) = (self.cluster(id), format!("{name}.toml"));
        let server = found.iter().find(|each| each.mentions(&file)).cloned();
        server.with_context(|| format!("no {name} among {found:?}"))
    }

    /// The folder of one cluster.
    pub fn cluster_folder(&self, id: &str) -> PathBuf {
        self.state().join("clusters").join(id.replace('-', ""))
    }

    /// kill -9 of every process of a program.
    pub fn kill(&self, name: &str) -> anyhow::Result<Vec<Process>> {
        let found = self.program(name);
        ensure!(!found.is_empty(), "no {name} is running");
        found.iter().try_for_each(Process::kill)?;
        Ok(found)
    }

    /// Waits until another process than the killed ones runs the program.
    pub fn wait_restarted(&self, name: &str, killed: &[Process]) -> anyhow::Result<Vec<Process>> {
        until_blocking(&format!("{name} runs again"), Duration::from_secs(30), || {
            let now = self.program(name);
            let fresh =
                !now.is_empty() && now.iter().all(|each| killed.iter().all(|old| old.pid != each.pid));
            fresh.then_some(now)
        })
    }

    /// kill -9 of the supervisor itself; what it started is left to itself.
    pub fn kill_supervisor(&self) -> anyhow::Result<()> {
        let mut child = lock(&self.child).take().context("it is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// An orderly stop.
    pub fn stop(&self) -> anyhow::Result<std::process::ExitStatus> {
        let mut child = lock(&self.child).take().context("it is not running")?;
        let pid = i32::try_from(child.id())?;
        Process { pid, arguments: Vec::new() }.signal(Signal::TERM)?;
        until_blocking("the cloud stops", Duration::from_secs(30), || child.try_wait().ok().flatten())
    }

    /// Gives an account the operator's role, as the person who runs the cloud does.
    pub fn grant_operator(&self, email: &str) -> anyhow::Result<()> {
        let output = Command::new(programs::program("fluvio-cloud-local")?)
            .args(["operator", "grant", email, "--state"])
            .arg(self.state())
            .output()?;
        ensure!(output.status.success(), "operator grant: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The database as its owner sees it, for what no person can do: ageing a link, lowering a limit.
    pub async fn database(&self) -> anyhow::Result<sqlx::PgConnection> {
        let url = std::fs::read_to_string(self.state().join("secrets/owner.database-url"))?;
        let options: sqlx::postgres::PgConnectOptions = url.trim().parse()?;
        Ok(sqlx::ConnectOptions::connect(&options).await?)
    }

    /// Changes one of a cluster's limits, as an operator's statement would.
    pub async fn db_set_limit(&self, cluster: &str, limit: Limit, value: i64) -> anyhow::Result<()> {
        let statement = match limit {
            Limit::Storage => {
                "UPDATE clusters SET max_storage_bytes = $2, generation = generation + 1 WHERE id = $1::uuid"
            }
            Limit::Partitions => {
                "UPDATE clusters SET max_partitions = $2::int, generation = generation + 1 WHERE id = $1::uuid"
            }
            Limit::Connections => {
                "UPDATE clusters SET max_connections = $2::int, generation = generation + 1 WHERE id = $1::uuid"
            }
        };
        let mut database = self.database().await?;
        let changed = sqlx::query(statement).bind(cluster).bind(value).execute(&mut database).await?;
        ensure!(changed.rows_affected() == 1, "there is no cluster {cluster}");
        self.settled(cluster).await
    }

    /// Takes away what the plan says of a cluster's rates, for a benchmark of what the engine can do.
    pub async fn db_lift_rates(&self, cluster: &str) -> anyhow::Result<()> {
        let statement =
            "UPDATE clusters SET rate_bytes_in = NULL, rate_bytes_out = NULL, rate_requests = NULL,
                                             generation = generation + 1 WHERE id = $1::uuid";
        let changed = sqlx::query(statement).bind(cluster).execute(&mut self.database().await?).await?;
        ensure!(changed.rows_affected() == 1, "there is no cluster {cluster}");
        self.settled(cluster).await
    }

    /// Waits until what is wanted of a cluster is in force.
    pub async fn settled(&self, cluster: &str) -> anyhow::Result<()> {
        let mut database = self.database().await?;
        wait::until("what is wanted is in force", Duration::from_secs(20), async || {
            let row: (i64, i64) = sqlx::query_as(
                "SELECT generation, observed_generation FROM clusters JOIN cluster_status ON cluster_id = id WHERE id = $1::uuid",
            )
            .bind(cluster)
            .fetch_one(&mut database)
            .await?;
            Ok((row.1 >= row.0).then_some(()))
        })
        .await
    }

    /// The end of a log, for the message of a failure.
    pub fn tail(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.state().join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(30);
        format!("── end of {name} ──\n{}", lines[from..].join("\n"))
    }

    /// All that the programs logged.
    pub fn logs(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.state().join("logs"))? {
            all += &String::from_utf8_lossy(&std::fs::read(entry?.path())?);
        }
        all += &std::fs::read_to_string(self.state().join("up.log"))?;
        Ok(all)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail("up.log"));
        }
        // Reaped here, or the guard would wait for a zombie; the guard itself ends what is left.
        if let Some(mut child) = lock(&self.child).take() {
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = Process { pid, arguments: Vec::new() }.signal(Signal::TERM);
            }
            let _ = until_blocking("the cloud stops", Duration::from_secs(10), || {
                child.try_wait().ok().flatten()
            });
            let _ = child.kill();
            let _ = child.wait();
        }
        let keep = self.state().join("logs/up.log");
        let _ = std::fs::copy(self.state().join("up.log"), keep);
    }
}

/// A poisoned lock only says that another test failed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
