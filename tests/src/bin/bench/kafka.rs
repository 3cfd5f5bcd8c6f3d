//! Kafka 4.1.0 as a peer: one broker over TLS, Kafka's own load tools, and a small client of ours for latencies.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::guard::Guard;
use e2e::processes::{self, Process};
use e2e::programs;
use e2e::wait::until_blocking;
use serde::Deserialize;

use crate::throughput::{BATCH_BYTES, RECORD_BYTES, RECORDS};

/// A throw-away password for throw-away keystores in a temporary folder.
const STORE_PASSWORD: &str = "measured-beside";

/// A Java virtual machine on a busy machine takes its time.
const STARTED_WITHIN: Duration = Duration::from_secs(120);

/// When the broker has a batch on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// When the kernel likes: as it comes.
    Never,
    /// Before it is acknowledged, as ours are.
    EachBatch,
}

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    guard: Guard,
    port: u16,
    libraries: PathBuf,
}

impl Kafka {
    pub fn start() -> anyhow::Result<Kafka> {
        let libraries = install()?;
        let folder = tempfile::Builder::new().prefix("fkafka").tempdir_in("/tmp")?.keep();
        let guard = Guard::over(&folder, "java", None)?;
        keystores(&folder)?;
        let (port, controller) = (free_port()?, free_port()?);
        let kafka = Kafka { guard, port, libraries };
        kafka.configure(controller)?;
        let id = kafka.java(&["kafka.tools.StorageTool", "random-uuid"])?;
        let id = id.lines().last().context("a cluster id")?.trim().to_string();
        let server = text(&folder.join("server.properties"));
        kafka.java(&["kafka.tools.StorageTool", "format", "-t", &id, "-c", &server])?;
        kafka.serve(&server)?;
        Ok(kafka)
    }

    /// Starts the broker and waits until it listens.
    fn serve(&self, configuration: &str) -> anyhow::Result<()> {
        let path = self.folder().join("server.log");
        let log = std::fs::File::create(&path)?;
        let mut broker = self
            .command(&["-Xms1g", "-Xmx1g"])
            .args(["kafka.Kafka", configuration])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let listens = until_blocking("Kafka listens", STARTED_WITHIN, || match broker.try_wait() {
            Ok(Some(status)) => Some(Err(anyhow::anyhow!("Kafka ended with {status}"))),
            _ => std::net::TcpStream::connect(("127.0.0.1", self.port)).ok().map(|_| Ok(())),
        });
        listens
            .and_then(std::convert::identity)
            .with_context(|| std::fs::read_to_string(&path).unwrap_or_default())
    }

    fn folder(&self) -> &Path {
        self.guard.folder()
    }

    fn configure(&self, controller: u16) -> anyhow::Result<()> {
        let folder = self.folder();
        let stores = |prefix: &str| {
            format!(
                "{prefix}ssl.keystore.location={0}/keys.p12\n{prefix}ssl.keystore.password={STORE_PASSWORD}\n\
                 {prefix}ssl.key.password={STORE_PASSWORD}\n{prefix}ssl.keystore.type=PKCS12\n\
                 {prefix}ssl.truststore.location={0}/trust.p12\n{prefix}ssl.truststore.password={STORE_PASSWORD}\n\
                 {prefix}ssl.truststore.type=PKCS12\n",
                folder.display()
            )
        };
        let server = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=SSL://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT\ninter.broker.listener.name=SSL\n\
             ssl.client.auth=required\nlog.dirs={}/data\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nauto.create.topics.enable=true\nnum.partitions=1\n{}",
            folder.display(),
            stores(""),
            port = self.port,
        );
        std::fs::write(folder.join("server.properties"), server)?;
        let client = format!("security.protocol=SSL\nssl.endpoint.identification.algorithm=\n{}", stores(""));
        std::fs::write(folder.join("client.properties"), client)?;
        Ok(())
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new("java");
        command.args(options).arg("-cp").arg(format!("{}/*", self.libraries.display()));
        // Named so that the guard finds every Java of this folder.
        command.arg(format!("-Dfolder={}", self.folder().display())).arg("-Dlog4j2.level=ERROR");
        command
    }

    fn java(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(&["-Xmx1g"]).args(arguments).output().context("cannot start java")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{arguments:?}: {said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// The broker's own process.
    pub fn process(&self) -> anyhow::Result<Process> {
        let found = processes::that_mention(self.folder());
        found.into_iter().find(|each| each.mentions("kafka.Kafka")).context("the broker is not running")
    }

    pub fn create_topic(&self, topic: &str, flush: Flush) -> anyhow::Result<()> {
        let (servers, config) =
            (format!("127.0.0.1:{}", self.port), text(&self.folder().join("client.properties")));
        let mut arguments = vec![
            "org.apache.kafka.tools.TopicCommand",
            "--bootstrap-server",
            &servers,
            "--command-config",
            &config,
            "--create",
            "--topic",
            topic,
            "--partitions",
            "1",
            "--replication-factor",
            "1",
        ];
        if flush == Flush::EachBatch {
            arguments.extend(["--config", "flush.messages=1"]);
        }
        self.java(&arguments).map(drop)
    }

    /// One record at a time at `rate` a second, from due to consumed, by the client in `OneAtATime.java`.
    pub fn one_at_a_time(&self, topic: &str, (rate, records): (u32, u32)) -> anyhow::Result<Latencies> {
        let source = text(&programs::tests_folder().join("peers/kafka/OneAtATime.java"));
        let (servers, config) =
            (format!("127.0.0.1:{}", self.port), text(&self.folder().join("client.properties")));
        let said =
            self.java(&[&source, &servers, &config, topic, &rate.to_string(), &records.to_string()])?;
        let line = said.lines().rfind(|line| line.starts_with('{')).context("no figures")?;
        Ok(serde_json::from_str(line)?)
    }

    /// Bytes on disk: of the jars, and of the Java that runs them.
    pub fn size(&self) -> anyhow::Result<(u64, u64)> {
        let java = std::fs::canonicalize(find_java()?)?;
        let home = java.ancestors().nth(2).context("java is in the bin of a folder")?;
        Ok((size_of(&self.libraries)?, size_of(home)?))
    }

    /// Records a second, by Kafka's own tool.
    pub fn produce(&self, topic: &str) -> anyhow::Result<f64> {
        let (records, size, batch) =
            (RECORDS.to_string(), RECORD_BYTES.to_string(), format!("batch.size={BATCH_BYTES}"));
        let (servers, config) = (
            format!("bootstrap.servers=127.0.0.1:{}", self.port),
            text(&self.folder().join("client.properties")),
        );
        let said = self.java(&[
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic",
            topic,
            "--num-records",
            &records,
            "--record-size",
            &size,
            "--throughput",
            "-1",
            "--producer.config",
            &config,
            "--producer-props",
            &servers,
            &batch,
            "linger.ms=10",
            "acks=all",
        ])?;
        // "200000 records sent, 54321.0 records/sec (53.05 MB/sec), …": the last such line is of the whole run.
        let line = said.lines().rev().find(|line| line.contains("records/sec")).context("no figure")?;
        let figure = line.split("records sent,").nth(1).and_then(|rest| rest.split_whitespace().next());
        Ok(figure.context("no figure")?.parse()?)
    }

    /// Megabytes a second, by Kafka's own tool.
    pub fn consume(&self, topic: &str) -> anyhow::Result<f64> {
        let (records, servers) = (RECORDS.to_string(), format!("127.0.0.1:{}", self.port));
        let config = text(&self.folder().join("client.properties"));
        let said = self.java(&[
            "org.apache.kafka.tools.ConsumerPerformance",
            "--topic",
            topic,
            "--messages",
            &records,
            "--bootstrap-server",
            &servers,
            "--consumer.config",
            &config,
            "--timeout",
            "60000",
        ])?;
        // A header, then: start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s, …
        let line = said.lines().rev().find(|line| line.starts_with("20")).context("no figure")?;
        let fetch = line.split(',').nth(8).context("no figure")?.trim().parse::<f64>()?;
        // Their megabyte has 2^20 bytes.
        Ok(fetch * 1.048_576)
    }
}

/// Quantiles of one run, in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Latencies {
    pub p50: f64,
    pub p99: f64,
}

fn find_java() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("java")).find(|file| file.exists());
    found.context("java is not on PATH")
}

/// Bytes of all files of a folder; what a link points to is somebody else's.
fn size_of(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.path().symlink_metadata()?;
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// The broker's libraries, fetched once by the pinned list.
fn install() -> anyhow::Result<PathBuf> {
    let libraries = programs::cache("kafka")?.join("lib");
    if libraries.join("kafka_2.13-4.1.0.jar").exists() {
        return Ok(libraries);
    }
    let status = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(programs::tests_folder().join("peers/kafka/pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", libraries.display()))
        .status()
        .context("Maven is not installed\nfix: apt-get install -y maven default-jdk-headless")?;
    ensure!(status.success(), "Maven could not fetch Kafka");
    Ok(libraries)
}

/// One certificate for broker and client, trusted by both.
fn keystores(folder: &Path) -> anyhow::Result<()> {
    let keytool = |arguments: &[&str]| -> anyhow::Result<()> {
        let mut child = Command::new("keytool")
            .args(arguments)
            .args(["-storetype", "PKCS12", "-storepass:file"])
            .arg(folder.join("password"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("keytool is not installed")?;
        let said = child
            .stderr
            .take()
            .map(|said| BufReader::new(said).lines().map_while(Result::ok).collect::<Vec<_>>());
        ensure!(child.wait()?.success(), "keytool: {said:?}");
        Ok(())
    };
    std::fs::File::create(folder.join("password"))?.write_all(STORE_PASSWORD.as_bytes())?;
    let (keys, trust, certificate) =
        (text(&folder.join("keys.p12")), text(&folder.join("trust.p12")), text(&folder.join("peer.cer")));
    keytool(&[
        "-genkeypair",
        "-alias",
        "peer",
        "-keyalg",
        "EC",
        "-groupname",
        "secp256r1",
        "-dname",
        "CN=localhost",
        "-ext",
        "SAN=dns:localhost,ip:127.0.0.1",
        "-keystore",
        &keys,
    ])?;
    keytool(&["-exportcert", "-alias", "peer", "-file", &certificate, "-keystore", &keys])?;
    keytool(&["-importcert", "-noprompt", "-alias", "peer", "-file", &certificate, "-keystore", &trust])
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
