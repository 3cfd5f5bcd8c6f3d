//! A PostgreSQL whose every commit waits for a standby, as an operator of the cloud would run it. The database's
//! address follows the primary: here a folder of sockets that is a link, elsewhere a name or a virtual address.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use test_postgres::{command, programs};

use crate::guard::Guard;
use crate::processes::Process;
use crate::wait::until;

/// The superuser.
const OWNER: &str = "owner";
const DATABASE: &str = "fleet";
/// Far more than any step takes.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    /// The last is the standby, if there is one.
    servers: Vec<Child>,
    primary: usize,
    _guard: Guard,
}

impl Postgres {
    /// A primary with a standby.
    pub async fn start() -> anyhow::Result<Postgres> {
        let folder = tempfile::Builder::new().prefix("fcpg").rand_bytes(6).tempdir_in("/tmp")?.keep();
        let guard = Guard::over(&folder, "no program goes first", None)?;
        run(Command::new("chmod").arg("0755").arg(&folder))?;
        let mut postgres =
            Postgres { folder, programs: programs(), servers: Vec::new(), primary: 0, _guard: guard };
        let first = postgres.make_folder(0)?;
        let mut initdb = command(&postgres.programs, "initdb");
        initdb.args(["--username", OWNER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"]);
        run(initdb.arg("--pgdata").arg(first.join("data")))?;
        postgres.serve(0)?;
        postgres.move_address(0)?;
        let mut any = postgres.connect(0, "postgres").await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}"))).execute(&mut any).await?;
        std::fs::write(postgres.url_file(), url(&postgres.folder.join("address"), DATABASE))?;
        postgres.add_standby().await?;
        Ok(postgres)
    }

    /// The file with a URL for `--database-url-file`.
    pub fn url_file(&self) -> PathBuf {
        self.folder.join("url")
    }

    /// kill -9 of the primary with all that belongs to it, as when its machine loses power.
    pub fn kill_primary(&mut self) -> anyhow::Result<()> {
        let primary = &mut self.servers[self.primary];
        let pid = i32::try_from(primary.id())?;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        primary.kill()?;
        primary.wait()?;
        for child in children.split_whitespace() {
            Process { pid: child.parse()?, arguments: vec!["postgres".to_string()] }.kill()?;
        }
        Ok(())
    }

    /// Lets the standby be the primary; returns how long it took.
    pub async fn promote(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let next = self.primary + 1;
        let mut standby = self.connect(next, "postgres").await?;
        let (done,): (bool,) = sqlx::query_as("SELECT pg_promote(true, 60)").fetch_one(&mut standby).await?;
        ensure!(done, "the standby did not become the primary");
        self.primary = next;
        Ok(begun.elapsed())
    }

    /// From now on the address leads to the newest server, be it the primary yet or not.
    pub fn take_address(&self) -> anyhow::Result<()> {
        self.move_address(self.servers.len() - 1)
    }

    /// Clones the primary, and lets every commit wait until the clone has it too.
    pub async fn add_standby(&mut self) -> anyhow::Result<()> {
        let number = self.servers.len();
        let folder = self.make_folder(number)?;
        let primary = self.socket(self.primary);
        let mut backup = command(&self.programs, "pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint", "fast", "--username", OWNER, "--host"]);
        run(backup.arg(&primary).arg("--pgdata").arg(folder.join("data")))?;
        self.serve(number)?;
        let mut primary = self.connect(self.primary, "postgres").await?;
        sqlx::query("ALTER SYSTEM SET synchronous_standby_names = '*'").execute(&mut primary).await?;
        sqlx::query("SELECT pg_reload_conf()").execute(&mut primary).await?;
        until("commits wait for the standby", STEP_WITHIN, async || {
            let row = sqlx::query_as("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'");
            let (standbys,): (i64,) = row.fetch_one(&mut primary).await?;
            Ok((standbys == 1).then_some(()))
        })
        .await
    }

    /// The database as its owner sees it on the primary.
    pub async fn database(&self) -> anyhow::Result<PgConnection> {
        self.connect(self.primary, DATABASE).await
    }

    async fn connect(&self, server: usize, database: &str) -> anyhow::Result<PgConnection> {
        let options: PgConnectOptions = url(&self.socket(server), database).parse()?;
        until("PostgreSQL answers", STEP_WITHIN, async || {
            let mut connection = options.connect().await?;
            connection.ping().await?;
            Ok(Some(connection))
        })
        .await
    }

    fn serve(&mut self, server: usize) -> anyhow::Result<()> {
        let folder = self.socket(server);
        let log = std::fs::File::create(self.folder.join(format!("log-{server}")))?;
        let settings = [
            "listen_addresses=".to_string(),
            format!("unix_socket_directories={}", folder.display()),
            "max_connections=120".to_string(),
            "synchronous_commit=on".to_string(),
            "shared_buffers=32MB".to_string(),
        ];
        let mut command = command(&self.programs, "postgres");
        command.arg("-D").arg(folder.join("data"));
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.servers.push(command.spawn().context("cannot start postgres")?);
        Ok(())
    }

    fn socket(&self, server: usize) -> PathBuf {
        self.folder.join(server.to_string())
    }

    fn make_folder(&self, server: usize) -> anyhow::Result<PathBuf> {
        let folder = self.socket(server);
        std::fs::create_dir(&folder)?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(&folder))?;
        }
        Ok(folder)
    }

    /// One step for whoever looks meanwhile: the new link takes the old one's name.
    fn move_address(&self, server: usize) -> anyhow::Result<()> {
        let fresh = self.folder.join("address.new");
        std::os::unix::fs::symlink(self.socket(server), &fresh)?;
        Ok(std::fs::rename(fresh, self.folder.join("address"))?)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn url(socket: &Path, database: &str) -> String {
    format!("postgres:///{database}?host={}&user={OWNER}", socket.display())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
