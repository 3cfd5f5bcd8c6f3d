//! One cluster process by itself, without portal, gateway or provisioner: for tests that need to hold its disk
//! in their hands. The harness is its provisioner here, so it makes the certificates and pushes the settings.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use fluvio::FluvioClusterConfig;
use fluvio::config::TlsCerts;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use uuid::Uuid;

use crate::processes::Process;
use crate::programs;
use crate::tenant::Credentials;
use crate::wait::{until, until_blocking};

pub(crate) const DOMAIN: &str = "alone.fluvio.test";

/// Whose cluster it is: ids, server and client certificates.
#[derive(Debug, Clone)]
pub struct Owner {
    pub(crate) tenant: Uuid,
    pub(crate) cluster: Uuid,
    principal: Uuid,
    server_certificate: String,
    server_key: String,
    client_ca: String,
    pub credentials: Credentials,
    /// Whether its servers have TLS; without it they are on loopback only, and whoever is there is their admin.
    tls: bool,
}

impl Owner {
    pub fn new() -> anyhow::Result<Owner> {
        let (tenant, cluster, principal) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
        let (server_ca_pem, server_ca) = authority()?;
        let (client_ca, client_issuer) = authority()?;
        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(vec![DOMAIN.to_string(), format!("*.{DOMAIN}")])?;
        server.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let server_certificate = server.signed_by(&server_key, &server_ca)?.pem();
        let key = KeyPair::generate()?;
        let mut client = CertificateParams::new(Vec::<String>::new())?;
        let uri = format!("fluvio-cloud://{tenant}/{cluster}/{principal}");
        client.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        client.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        client.serial_number = Some(rcgen::SerialNumber::from(vec![0x31; 16]));
        let certificate = client.signed_by(&key, &client_issuer)?.pem();
        let credentials = Credentials {
            domain: DOMAIN.to_string(),
            key: key.serialize_pem(),
            certificate,
            ca: server_ca_pem,
        };
        let server_key = server_key.serialize_pem();
        let tls = true;
        Ok(Owner { tenant, cluster, principal, server_certificate, server_key, client_ca, credentials, tls })
    }

    /// Whoever is on this machine.
    pub fn in_plaintext() -> anyhow::Result<Owner> {
        Ok(Owner { tls: false, principal: Uuid::nil(), ..Owner::new()? })
    }

    fn listener(&self) -> &'static str {
        if self.tls { "tcp:127.0.0.1:0" } else { "tcp+plain:127.0.0.1:0" }
    }

    pub(crate) fn settings(&self, generation: u64, spu_port: u16, durability: &str) -> Value {
        let identity = json!({
            "certificate_pem": self.server_certificate,
            "key_pem": self.server_key,
            "client_ca_pem": self.client_ca,
        });
        json!({
            "version": 1,
            "generation": generation,
            "tenant": self.tenant,
            "cluster": self.cluster,
            "domain": DOMAIN,
            "public_endpoint": {"host": "127.0.0.1", "port": spu_port},
            "spus": [{"id": 5001, "name": "main-0"}],
            "durability": durability,
            "identity": self.tls.then_some(identity),
            "access": {"entries": [{"principal": self.principal, "role": "admin"}], "revoked_serials": []},
            "limits": {
                "storage_bytes": 4_u64 << 30,
                "partitions": 1000,
                "connections": 10_000,
                "message_bytes": 33_554_432,
            },
        })
    }
}

pub(crate) fn authority() -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

/// A running `fluvio-cluster node`.
#[derive(Debug)]
pub struct Node {
    child: Child,
    run: tempfile::TempDir,
    owner: Owner,
    sc: String,
    spu: String,
}

impl Node {
    /// Starts it on a data folder, fresh or found, and waits until a client could use it.
    pub async fn start(
        owner: &Owner,
        data: &Path,
        generation: u64,
        durability: &str,
    ) -> anyhow::Result<Node> {
        let run = tempfile::Builder::new().prefix("fn").rand_bytes(6).tempdir_in("/tmp")?;
        let at = |name: &str| run.path().join(name);
        let file = at("node.toml");
        let text = format!(
            "role_dir_data = {data:?}\ntenant = \"{}\"\ncluster = \"{}\"\nhost_reserve_bytes = 1048576\n\
             [sc]\npublic = [\"{public}\"]\ncontrol = \"unix:{control}\"\nlink = \"unix:{link}\"\naddress_file = {sc:?}\n\
             [spu]\nname = \"main-0\"\npublic = [\"{public}\"]\nlink = \"unix:{link}\"\naddress_file = {spu:?}\n",
            owner.tenant,
            owner.cluster,
            public = owner.listener(),
            control = at("control.sock").display(),
            link = at("link.sock").display(),
            sc = at("sc.json"),
            spu = at("spu.json"),
        );
        std::fs::write(&file, text)?;
        let log = std::fs::File::create(at("log.txt"))?;
        let child = Command::new(programs::program("fluvio-cluster")?)
            .args(["node", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start fluvio-cluster")?;
        let mut node = Node { child, run, owner: owner.clone(), sc: String::new(), spu: String::new() };
        node.become_ready(generation, durability).await.with_context(|| node.log())?;
        Ok(node)
    }

    async fn become_ready(&mut self, generation: u64, durability: &str) -> anyhow::Result<()> {
        self.sc = self.address("sc.json").await?;
        self.spu = self.address("spu.json").await?;
        let port = self.spu.rsplit(':').next().context("an address has a port")?.parse()?;
        let settings = self.owner.settings(generation, port, durability);
        until("the settings are taken", Duration::from_secs(20), async || {
            let (status, body) = self.control(Method::PUT, "/v1/settings", settings.to_string()).await?;
            ensure!(status == StatusCode::NO_CONTENT, "{status}: {body}");
            Ok(Some(()))
        })
        .await?;
        until("a client could use it", Duration::from_secs(30), async || {
            let (status, body) = self.control(Method::GET, "/v1/health", String::new()).await?;
            ensure!(status == StatusCode::OK, "{status}: {body}");
            Ok(Some(()))
        })
        .await
    }

    /// Pushes its settings once more, newer and with a change.
    pub async fn push(
        &self,
        generation: u64,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<(StatusCode, String)> {
        let port = self.spu()?.0.port();
        let mut settings = self.owner.settings(generation, port, "disk");
        change(&mut settings);
        self.control(Method::PUT, "/v1/settings", settings.to_string()).await
    }

    async fn address(&self, name: &str) -> anyhow::Result<String> {
        until(name, Duration::from_secs(20), async || {
            let Ok(text) = std::fs::read_to_string(self.run.path().join(name)) else { return Ok(None) };
            let found: Value = serde_json::from_str(&text)?;
            Ok(found["public"][0].as_str().map(str::to_string))
        })
        .await
    }

    async fn control(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<(StatusCode, String)> {
        ask(UnixStream::connect(self.run.path().join("control.sock")).await?, method, path, body).await
    }

    /// How the published client reaches it.
    pub fn profile(&self) -> FluvioClusterConfig {
        if !self.owner.tls {
            return FluvioClusterConfig::new(&self.sc);
        }
        let who = self.owner.credentials.clone();
        let certs = TlsCerts { domain: who.domain, key: who.key, cert: who.certificate, ca_cert: who.ca };
        FluvioClusterConfig::new(&self.sc).with_tls(certs)
    }

    /// Where its SPU listens, and the name it has there.
    pub fn spu(&self) -> anyhow::Result<(std::net::SocketAddr, String)> {
        Ok((self.spu.parse()?, format!("main-0.{DOMAIN}")))
    }

    pub fn process(&self) -> anyhow::Result<Process> {
        Ok(Process { pid: i32::try_from(self.child.id())?, arguments: vec!["fluvio-cluster".to_string()] })
    }

    /// Stops it dead, as it is, and waits until no thread of it runs.
    pub fn freeze(&self) -> anyhow::Result<()> {
        let process = self.process()?;
        process.signal(Signal::STOP)?;
        until_blocking("every thread stopped", Duration::from_secs(10), || stopped(process.pid).then_some(()))
    }

    pub fn thaw(&self) -> anyhow::Result<()> {
        self.process()?.signal(Signal::CONT)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.run.path().join("log.txt")).unwrap_or_default()
    }

    pub fn folder(&self) -> PathBuf {
        self.run.path().to_path_buf()
    }
}

/// One request over a connection of its own.
pub(crate) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    body: String,
) -> anyhow::Result<(StatusCode, String)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "control")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    Ok((parts.status, String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned()))
}

pub(crate) fn stopped(pid: i32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().all(|task| {
        std::fs::read_to_string(task.path().join("stat"))
            .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
