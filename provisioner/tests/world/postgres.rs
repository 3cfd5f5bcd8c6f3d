//! A Postgres server of this test run alone, with the schema.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// Stopped and removed when dropped.
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Starts a server that listens on a socket in its own folder, and lays out the schema.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let server = Self { folder, programs: programs() };
        if rustix::process::geteuid().is_root() {
            // Postgres does not run as root.
            run(Command::new("chown").arg("-R").arg("postgres").arg(server.folder.path()));
        }
        let data = server.data();
        run(server.command("initdb").args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"]).arg(&data));
        server.run_server();
        let pool = server.connect("postgres").await;
        sqlx::migrate!("../migrations").run(&pool).await.unwrap();
        server
    }

    /// Starts the server, also again after [`Postgres::stop`].
    pub fn run_server(&self) {
        let options = format!("-k {} -c listen_addresses= -c fsync=off", self.folder.path().display());
        let log = self.folder.path().join("log");
        let mut command = self.command("pg_ctl");
        run(command.arg("-D").arg(self.data()).arg("-l").arg(log).args(["-w", "-o", &options, "start"]));
    }

    /// Stops the server as a crash would.
    pub fn stop(&self) {
        run(self.command("pg_ctl").arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]));
    }

    /// Keeps the files as a standby would have them now.
    pub fn keep_standby(&self) {
        self.stop();
        run(self.command("cp").arg("-a").arg(self.data()).arg(self.folder.path().join("standby")));
        self.run_server();
    }

    /// Loses the server, and lets the standby take over at its address.
    pub fn fail_over(&self) {
        self.stop();
        std::fs::remove_dir_all(self.data()).unwrap();
        std::fs::rename(self.folder.path().join("standby"), self.data()).unwrap();
        std::fs::write(self.data().join("standby.signal"), "").unwrap();
        self.run_server();
        run(self.command("pg_ctl").arg("-D").arg(self.data()).args(["-w", "promote"]));
    }

    /// Where a role connects.
    pub fn url(&self, role: &str) -> String {
        format!("postgres:///postgres?host={}&user={role}", self.folder.path().display())
    }

    /// Connects with a role of the schema.
    pub async fn connect(&self, role: &str) -> PgPool {
        let options = PgConnectOptions::from_str(&self.url(role)).unwrap();
        PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let own = self.programs.join(program);
        let program = if own.exists() { own } else { PathBuf::from(program) };
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let _ = self.command("pg_ctl").arg("-D").arg(data).args(["-m", "immediate", "stop"]).output();
    }
}

fn run(command: &mut Command) {
    // Not a pipe: the server would keep it open after `pg_ctl` is gone.
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// The newest installed server's programs.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        installed.map(|entry| entry.path().join("bin")).filter(|path| path.join("initdb").exists()).max();
    newest.unwrap_or_else(|| Path::new("/usr/local/pgsql/bin").to_owned())
}
