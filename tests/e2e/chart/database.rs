//! The chart's own files, started on this machine: its way to make and serve the database, the migration, and the
//! programs that log in with TLS and a password.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::chart::{Rendered, value_set};
use e2e::guard::Guard;
use e2e::wait::until;
use e2e::{processes, programs};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Postgres as the chart serves it, with its paths below a folder, on loopback.
struct Server {
    folder: PathBuf,
    rendered: Rendered,
    port: u16,
    _guard: Guard,
}

impl Server {
    /// Makes the files with the chart's script, and serves them with its settings.
    async fn start() -> anyhow::Result<Server> {
        let folder = tempfile::Builder::new().prefix("fcchart").tempdir()?.keep();
        let guard = Guard::over(&folder, "no program goes first", None)?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let rendered = Rendered::of(&value_set("one-node")?, &[])?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Server { folder, rendered, port, _guard: guard };
        server.write_files()?;
        let prepared = server.run("sh", &[&server.path("etc/prepare")])?.output()?;
        ensure!(prepared.status.success(), "prepare: {}", String::from_utf8_lossy(&prepared.stderr));
        server.serve()?;
        until("Postgres answers", PATIENCE, async || Ok(server.owner().await.map(Some)?)).await?;
        Ok(server)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The same text with this folder's paths and addresses.
    fn here(&self, text: &str) -> String {
        text.replace("/etc/fluvio-cloud", &self.path("etc"))
            .replace("/run/secrets", &self.path("secrets"))
            .replace("/run/postgresql", &self.path("run"))
            .replace("/var/lib/fluvio-cloud", &self.path("state"))
            .replace("/data/", &format!("{}/", self.path("data")))
            .replace("0.0.0.0:8443", "127.0.0.1:0")
            .replace("0.0.0.0:9443", "127.0.0.1:0")
            .replace("0.0.0.0:9090", "127.0.0.1:0")
            .replace("postgres.fluvio-cloud.svc:5432", &format!("127.0.0.1:{}", self.port))
    }

    fn secret(&self, name: &str, key: &str) -> anyhow::Result<Vec<u8>> {
        let text = self.rendered.one("Secret", name)?["data"][key].as_str().context("a key of a Secret")?;
        Ok(STANDARD.decode(text)?)
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(&path, content)?;
        Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
    }

    fn write_files(&self) -> anyhow::Result<()> {
        for map in ["postgres", "portal", "gateway", "signer"] {
            for (name, text) in self.rendered.one("ConfigMap", map)?["data"].as_object().context("data")? {
                self.write(
                    &format!("etc/{name}"),
                    self.here(text.as_str().context("text")?).as_bytes(),
                    0o644,
                )?;
            }
        }
        self.write("secrets/database/password", &self.secret("database-owner", "password")?, 0o644)?;
        self.write("secrets/sealing/key", &self.secret("sealing-key", "key")?, 0o400)?;
        self.write("secrets/token-key/key.pem", &self.secret("portal-token-key", "key.pem")?, 0o400)?;
        for program in ["portal", "signer", "provisioner", "gateway"] {
            let password = self.secret(&format!("database-{program}"), "password")?;
            self.write(&format!("secrets/roles/{program}"), &password, 0o400)?;
        }
        // The chart's certificate is for a name inside Kubernetes, so the server gets one for where it is here.
        let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = ca.self_signed(&ca_key)?;
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?
            .signed_by(&key, &Issuer::new(ca, &ca_key))?;
        self.write("secrets/database/ca.crt", authority.pem().as_bytes(), 0o644)?;
        self.write("secrets/tls/tls.crt", leaf.pem().as_bytes(), 0o644)?;
        self.write("secrets/tls/tls.key", key.serialize_pem().as_bytes(), 0o600)?;
        let url = self.here(&String::from_utf8(self.secret("database-owner", "url")?)?);
        self.write("secrets/owner/url", url.as_bytes(), 0o400)?;
        // As a first start that was cut off would leave it: half of a database.
        self.write("data/fresh/PG_VERSION", b"15", 0o600)?;
        for name in ["run", "state"] {
            std::fs::create_dir(self.folder.join(name))?;
        }
        if rustix::process::geteuid().is_root() {
            let own = ["data", "run", "secrets/tls"].map(|name| self.path(name));
            ensure!(
                Command::new("chown").args(["-R", "postgres"]).args(own).status()?.success(),
                "chown failed"
            );
        }
        Ok(())
    }

    /// As the user that Postgres runs as, with Postgres' programs in the path as in its image.
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        let installed =
            std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not on this machine")?;
        let installed =
            installed.flatten().map(|each| each.path().join("bin")).max().context("no PostgreSQL")?;
        command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", installed.display()));
        Ok(command)
    }

    fn serve(&self) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.folder.join("log"))?;
        let (port, settings) =
            (format!("port={}", self.port), format!("config_file={}", self.path("etc/postgresql.conf")));
        let arguments = ["-D", &self.path("data/postgres"), "-c", &settings, "-c", &port];
        let more = ["-c", "listen_addresses=127.0.0.1", "-c", "log_statement=all"];
        self.run("postgres", &[&arguments[..], &more[..]].concat())?
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(())
    }

    fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("log"))?)
    }

    async fn owner(&self) -> anyhow::Result<PgConnection> {
        connect(&std::fs::read_to_string(self.folder.join("secrets/owner/url"))?).await
    }

    fn migrate(&self) -> anyhow::Result<tokio::process::Command> {
        let mut portal = tokio::process::Command::new(programs::program("portal")?);
        portal.arg("migrate").arg("--config").arg(self.folder.join("etc/portal.toml"));
        portal.stdin(Stdio::null()).kill_on_drop(true);
        Ok(portal)
    }

    /// What the Secret of a program says, for here.
    fn url(&self, program: &str) -> anyhow::Result<String> {
        Ok(self.here(&String::from_utf8(self.secret(&format!("database-{program}"), "url")?)?))
    }
}

async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)?;
    let connection = PgConnection::connect_with(&options);
    Ok(tokio::time::timeout(Duration::from_secs(10), connection).await??)
}

/// Two at once, as two portals that start: both must come through.
async fn migrate_twice(server: &Server) -> anyhow::Result<()> {
    let (mut one, mut other) = (server.migrate()?, server.migrate()?);
    let (one, other) = tokio::try_join!(one.output(), other.output())?;
    for output in [one, other] {
        ensure!(output.status.success(), "portal migrate: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_log_in_with_tls_and_their_passwords_which_no_statement_shows() -> anyhow::Result<()> {
    let server = Server::start().await?;
    migrate_twice(&server).await?;
    for program in ["portal", "signer", "provisioner", "gateway"] {
        let url = server.url(program)?;
        ensure!(url.contains("sslmode=verify-full"), "{program} does not ask who serves it");
        let mut connection = connect(&url).await?;
        let (user, ssl): (String, bool) =
            sqlx::query_as("SELECT current_user::text, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                .fetch_one(&mut connection)
                .await?;
        assert_eq!((user, ssl), (format!("cloud_{program}"), true));

        let password = String::from_utf8(server.secret(&format!("database-{program}"), "password")?)?;
        assert!(!server.log()?.contains(&password), "the password of {program} is in the server's log");
        let wrong = url.replace(&password, "guessed");
        assert!(connect(&wrong).await.is_err(), "{program} came in with another password");
        let plain = url.replace("sslmode=verify-full", "sslmode=disable");
        assert!(connect(&plain).await.is_err(), "{program} came in without TLS");
    }
    assert!(
        server.log()?.contains("ALTER ROLE cloud_portal PASSWORD 'SCRAM-SHA-256$"),
        "nothing was logged at all"
    );

    let foreign = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    server.write("secrets/database/other.crt", ca.self_signed(&foreign)?.pem().as_bytes(), 0o644)?;
    let error = connect(&server.url("portal")?.replace("ca.crt", "other.crt")).await;
    assert!(error.is_err(), "a server of another CA was believed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_is_in_force_after_the_next_migration() -> anyhow::Result<()> {
    let server = Server::start().await?;
    migrate_twice(&server).await?;
    server.write("secrets/roles/gateway", b"another\n", 0o400)?;
    migrate_twice(&server).await?;
    let url = server.url("gateway")?;
    let password = String::from_utf8(server.secret("database-gateway", "password")?)?;
    assert!(connect(&url).await.is_err(), "the old password still opens");
    connect(&url.replace(&password, "another")).await?;
    connect(&server.url("portal")?).await.context("the other roles are as they were")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_made_database_is_made_again_and_a_whole_one_left_alone() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let mut owner = server.owner().await?;
    let (before,): (String,) = identifier(&mut owner).await?;
    assert!(!server.folder.join("data/fresh").exists(), "what was half made is still there");
    let again = server.run("sh", &[&server.path("etc/prepare")])?.output()?;
    ensure!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(identifier(&mut owner).await?.0, before);
    Ok(())
}

async fn identifier(owner: &mut PgConnection) -> anyhow::Result<(String,)> {
    let text = "SELECT system_identifier::text FROM pg_control_system()";
    Ok(sqlx::query_as(text).fetch_one(owner).await?)
}

/// Starts a program with the chart's configuration for it.
fn start(server: &Server, program: &str) -> anyhow::Result<()> {
    server.write("secrets/database/url", server.url(program)?.as_bytes(), 0o400)?;
    // Each pod has a Secret of its own at this place.
    let own = server.folder.join(format!("secrets-{program}"));
    copy(&server.folder.join("secrets"), &own)?;
    let config = server.folder.join(format!("etc/{program}.toml"));
    let text =
        std::fs::read_to_string(&config)?.replace(&server.path("secrets/"), &format!("{}/", own.display()));
    std::fs::write(&config, text)?;
    let log = std::fs::File::create(server.folder.join(format!("{program}.log")))?;
    Command::new(programs::program(program)?)
        .arg("serve")
        .arg("--config")
        .arg(config)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(done.success(), "cp failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portal_signer_and_gateway_start_from_the_chart_s_files() -> anyhow::Result<()> {
    let server = Server::start().await?;
    migrate_twice(&server).await?;
    for program in ["portal", "signer", "gateway"] {
        start(&server, program)?;
        let mut owner = server.owner().await?;
        let text = format!(
            "SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'cloud_{program}'"
        );
        let what = format!("{program} is connected");
        let came = until(&what, PATIENCE, async || {
            let found: Option<(bool,)> =
                sqlx::query_as(AssertSqlSafe(text.clone())).fetch_optional(&mut owner).await?;
            Ok(found)
        });
        let log =
            || std::fs::read_to_string(server.folder.join(format!("{program}.log"))).unwrap_or_default();
        let (ssl,) = came.await.with_context(log)?;
        assert!(ssl, "{program} talks to Postgres without TLS");
    }
    for program in ["portal", "signer", "gateway"] {
        let lives = processes::that_mention(&server.folder).iter().any(|each| each.program() == program);
        assert!(lives, "{program} has ended");
    }
    Ok(())
}
