//! A PostgreSQL server of one test's own: started in a temporary folder, with the schema laid out, and gone with it.

#![allow(clippy::unwrap_used, reason = "a test that has no database has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// Stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Starts a server that listens on a socket in its own folder, and lays out the schema.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        let server = Self { folder, programs: programs() };
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(server.folder.path()));
        }
        run(server
            .command("initdb")
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"])
            .arg(server.data()));
        server.run_server();
        sqlx::migrate!("../../migrations").run(&server.connect("postgres").await).await.unwrap();
        server
    }

    /// Starts the server, also again after [`Postgres::stop`].
    pub fn run_server(&self) {
        let options = format!("-k {} -c listen_addresses= -c fsync=off", self.folder.path().display());
        let log = self.folder.path().join("log");
        run(self.control().arg("-l").arg(log).args(["-w", "-o", &options, "start"]));
    }

    /// Stops the server as a crash would.
    pub fn stop(&self) {
        run(self.control().args(["-m", "immediate", "stop"]));
    }

    /// Keeps the files as a standby would have them now.
    pub fn keep_standby(&self) {
        self.stop();
        run(self.command("cp").arg("-a").arg(self.data()).arg(self.standby()));
        self.run_server();
    }

    /// Loses the server, and lets the standby take over at its address.
    pub fn fail_over(&self) {
        self.stop();
        std::fs::remove_dir_all(self.data()).unwrap();
        std::fs::rename(self.standby(), self.data()).unwrap();
        std::fs::write(self.data().join("standby.signal"), "").unwrap();
        self.run_server();
        run(self.control().args(["-w", "promote"]));
    }

    /// Where a role connects.
    pub fn url(&self, role: &str) -> String {
        format!("postgres:///postgres?host={}&user={role}", self.folder.path().display())
    }

    /// Connects with a role of the schema; `postgres` is the superuser.
    pub async fn connect(&self, role: &str) -> PgPool {
        let options: PgConnectOptions = self.url(role).parse().unwrap();
        PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn standby(&self) -> PathBuf {
        self.folder.path().join("standby")
    }

    fn control(&self) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.data());
        command
    }

    fn command(&self, program: &str) -> Command {
        command(&self.programs, program)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.control().args(["-m", "immediate", "stop"]).output();
    }
}

/// One of PostgreSQL's programs, or any other, as a user that PostgreSQL accepts: it refuses root.
pub fn command(programs: &Path, program: &str) -> Command {
    let own = programs.join(program);
    let program = if own.exists() { own } else { PathBuf::from(program) };
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// The folder of the newest installed server's programs: Debian's, then the path's.
pub fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        installed.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.unwrap_or_else(|| PathBuf::from("/usr/bin"))
}

fn run(command: &mut Command) {
    // Not a pipe: the server would keep it open after `pg_ctl` is gone.
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
