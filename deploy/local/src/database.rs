//! The cloud's own PostgreSQL: made by `initdb` in the state folder the first time, served on a Unix socket
//! only, each program with a role and a password of its own in a file that only it can read.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::RngExt;
use rustix::process::Signal;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use tokio::process::Command;

use crate::state::State;
use crate::supervisor::Program;
use crate::walls::Walls;

/// The superuser of a database server of our own.
const OWNER: &str = "cloud_owner";
/// The database's name.
const DATABASE: &str = "cloud";
/// The oldest server that will do.
const OLDEST: u32 = 15;
/// How long the server may take to answer: after a crash it replays its log first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A role and who may read its URL.
pub struct Role {
    /// `portal`, `signer`, …: the role is `cloud_<program>`.
    pub program: &'static str,
    /// The user that the program runs as.
    pub user: Option<u32>,
}

/// One role a program (migrations make them).
pub fn roles(walls: Option<Walls>) -> [Role; 4] {
    [
        Role { program: "portal", user: walls.map(|walls| walls.portal) },
        Role { program: "signer", user: walls.map(|walls| walls.signer) },
        Role { program: "provisioner", user: None },
        Role { program: "gateway", user: walls.map(|walls| walls.gateway) },
    ]
}

/// The name, below the state folder, of the file with a program's database URL.
pub fn url_file(program: &str) -> String {
    format!("secrets/{program}.database-url")
}

/// Makes the database's files if there are none, and says how to serve them. Writes the owner's URL file.
pub async fn prepare(state: &State) -> anyhow::Result<Program> {
    let programs = find_programs()?;
    let user = unprivileged_user()?;
    let owner = user.map(|(user, _)| user);
    state.make_folder("run/postgres", 0o755, owner)?;
    let folder = state.make_folder("postgres", 0o700, owner)?;
    let (_, password) = state.secret("owner.password", None, new_password)?;
    let socket = state.path("run/postgres");
    state.write(&url_file("owner"), url(&socket, OWNER, &password, "postgres").as_bytes(), None)?;
    let data = folder.join("data");
    if !data.exists() {
        tracing::info!("making the database");
        make(state, &programs, &data, &password, user).await?;
    }
    let settings = [
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={}", socket.display()),
        "unix_socket_permissions=0777".to_owned(),
        "max_connections=120".to_owned(),
        "shared_buffers=32MB".to_owned(),
        "logging_collector=off".to_owned(),
    ];
    let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    Ok(Program { name: "postgres", path: programs.join("postgres"), arguments, user, stop: Signal::INT })
}

/// Into a folder of another name first, so that a start that was killed here begins again from nothing.
async fn make(
    state: &State,
    programs: &Path,
    data: &Path,
    password: &str,
    user: Option<(u32, u32)>,
) -> anyhow::Result<()> {
    let fresh = data.with_file_name("fresh");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    let password_file = state.write("postgres/password", password.as_bytes(), user.map(|(user, _)| user))?;
    let mut initdb = Command::new(programs.join("initdb"));
    initdb
        .args(["--username", OWNER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"])
        .args(["--no-instructions", "--pwfile"])
        .arg(&password_file)
        .arg("--pgdata")
        .arg(&fresh)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/");
    if let Some((user, group)) = user {
        initdb.uid(user).gid(group);
    }
    let output = initdb.output().await.context("cannot start initdb")?;
    std::fs::remove_file(&password_file)?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    std::fs::rename(&fresh, data)?;
    std::fs::File::open(data.parent().unwrap_or(data))?.sync_all()?;
    Ok(())
}

/// Waits until the server answers, and makes the cloud's database if there is none. From then on the
/// owner's URL file names it.
pub async fn open(state: &State, given: Option<&Path>) -> anyhow::Result<()> {
    let text = match given {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the database URL in {}", file.display()))?,
        None => state.read(&url_file("owner"))?.context("the owner's database URL is missing")?,
    };
    let server =
        PgConnectOptions::from_str(text.trim()).context("the database URL is not one of PostgreSQL")?;
    let mut connection = connect(&server).await?;
    let (version,): (String,) = sqlx::query_as("SHOW server_version_num").fetch_one(&mut connection).await?;
    if version.parse::<u32>().unwrap_or(0) / 10_000 < OLDEST {
        bail!("the database server is older than PostgreSQL {OLDEST}\nfix: give the URL of a newer one");
    }
    if given.is_some() {
        // The URL names the database; its server is somebody else's.
        state.write(&url_file("owner"), text.as_bytes(), None)?;
        return Ok(());
    }
    let found: Option<(i32,)> = sqlx::query_as("SELECT 1 FROM pg_database WHERE datname = $1")
        .bind(DATABASE)
        .fetch_optional(&mut connection)
        .await?;
    if found.is_none() {
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {DATABASE}"))).execute(&mut connection).await?;
    }
    let (_, password) = state.secret("owner.password", None, new_password)?;
    let url = url(&state.path("run/postgres"), OWNER, &password, DATABASE);
    state.write(&url_file("owner"), url.as_bytes(), None)?;
    Ok(())
}

/// Gives each program's role its password and writes its URL file. Needs the roles, so comes after the
/// migrations.
pub async fn admit(state: &State, walls: Option<Walls>) -> anyhow::Result<()> {
    let owner_url = state.read(&url_file("owner"))?.context("the owner's database URL is missing")?;
    let owner = PgConnectOptions::from_str(owner_url.trim())?;
    let mut connection = connect(&owner).await?;
    for role in roles(walls) {
        let name = format!("cloud_{}", role.program);
        let (_, password) = state.secret(&format!("{name}.password"), None, new_password)?;
        // Hexadecimal digits of our own making: nothing to quote.
        sqlx::query(AssertSqlSafe(format!("ALTER ROLE {name} PASSWORD '{password}'")))
            .execute(&mut connection)
            .await?;
        let url = program_url(&owner, &name, &password);
        state.write(&url_file(role.program), url.as_bytes(), role.user)?;
    }
    Ok(())
}

async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let asked = Instant::now();
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if asked.elapsed() > PATIENCE => {
                return Err(error).context(
                    "the database server does not answer\nfix: read logs/postgres.log in the state folder",
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn url(socket: &Path, role: &str, password: &str, database: &str) -> String {
    format!("postgres:///{database}?host={}&user={role}&password={password}", socket.display())
}

/// The owner's way to the server, for another role.
fn program_url(owner: &PgConnectOptions, role: &str, password: &str) -> String {
    let database = owner.get_database().unwrap_or(DATABASE);
    match owner.get_socket() {
        Some(socket) => url(socket, role, password, database),
        None => format!("postgres://{role}:{password}@{}:{}/{database}", owner.get_host(), owner.get_port()),
    }
}

fn new_password() -> anyhow::Result<String> {
    Ok(hex::encode(rand::rng().random::<[u8; 32]>()))
}

/// The newest PostgreSQL on the machine: Debian's folders, then the path.
fn find_programs() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(version, programs)| *version >= OLDEST && programs.join("initdb").exists())
        .collect();
    versions.sort();
    if let Some((_, programs)) = versions.pop() {
        return Ok(programs);
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .context(
            "PostgreSQL 15 or newer is not on this machine\n\
             fix: apt-get install postgresql, or give a server with --database-url-file",
        )
}

/// PostgreSQL refuses to run as root, so root hands it to the user that its package made.
fn unprivileged_user() -> anyhow::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    user_in(&users, "postgres")
        .map(Some)
        .context("there is no user `postgres` to run the database as\nfix: apt-get install postgresql")
}

/// User and group of a name in the text of /etc/passwd (passwd(5)).
fn user_in(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    let user = fields.nth(1)?.parse().ok()?;
    Some((user, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\npostgres2:x:1:2::/:\npostgres:x:101:104:db:/var/lib:/bin/bash\n";
        assert_eq!(user_in(users, "postgres"), Some((101, 104)));
        assert_eq!(user_in(users, "nobody"), None);
    }

    #[test]
    fn a_program_reaches_the_server_as_its_owner_does() {
        let socket = PgConnectOptions::from_str(&url(Path::new("/s/run"), "owner", "p", "cloud")).unwrap();
        assert_eq!(
            program_url(&socket, "cloud_portal", "w"),
            "postgres:///cloud?host=/s/run&user=cloud_portal&password=w"
        );
        let network = PgConnectOptions::from_str("postgres://owner:p@db.example:5433/fleet").unwrap();
        assert_eq!(
            program_url(&network, "cloud_portal", "w"),
            "postgres://cloud_portal:w@db.example:5433/fleet"
        );
    }
}
