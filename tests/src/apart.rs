//! An SC and SPUs as processes of their own that meet over TCP with mutual TLS, as pods do, all on loopback. The
//! harness is their certificate authority, their provisioner and the gateway in front of their SPUs.

mod server;
mod split;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use fluvio::FluvioClusterConfig;
use fluvio::config::TlsCerts;
use hyper::{Method, StatusCode};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::disk::Disk;
use crate::nets::Nets;
use crate::node::{DOMAIN, Owner, ask, authority, stopped};
use crate::processes::Process;
use crate::wait::{until, until_blocking, within};
use server::{Ground, Server, address, write_identity};
use split::split;

/// The name in every internal certificate.
pub const INTERNAL: &str = "internal.alone.fluvio.test";

const START_WITHIN: Duration = Duration::from_secs(30);

/// Then an SPU that is away is taken for lost.
const LOST_AFTER_SECONDS: u64 = 8;

/// An internal CA and what it signs.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> anyhow::Result<Authority> {
        let (pem, issuer) = authority()?;
        Ok(Authority { pem, issuer })
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn leaf(&self, name: &str) -> anyhow::Result<Leaf> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_string()])?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Leaf { certificate: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

/// A whole cluster. It ends when it is dropped.
pub struct Apart {
    ground: Ground,
    authority: Authority,
    own: Leaf,
    sc: Server,
    spus: BTreeMap<String, Server>,
    /// Where the gateway finds each SPU.
    routes: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
    gateway: tokio::task::JoinHandle<()>,
    gateway_port: u16,
    generation: u64,
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.gateway.abort();
    }
}

impl Apart {
    /// An SC and SPUs `main-0` and on, which a client could use.
    pub async fn start(n_spus: usize) -> anyhow::Result<Apart> {
        Apart::start_on(None, n_spus, "").await
    }

    /// The same with these lines at the end of the SPUs' configuration.
    pub async fn start_with(n_spus: usize, more: &str) -> anyhow::Result<Apart> {
        Apart::start_on(None, n_spus, more).await
    }

    /// The same, each server in a network of its own.
    pub async fn start_in_nets(n_spus: usize) -> anyhow::Result<Apart> {
        let servers = (0..n_spus).map(|n| format!("main-{n}")).chain(["sc".to_string()]);
        Apart::start_on(Some(Nets::new(servers.collect())?), n_spus, "").await
    }

    /// The same, each SPU `main-n` with the `n`th of these disks to itself.
    pub async fn start_on_disks(disks: &[Disk]) -> anyhow::Result<Apart> {
        let folder = tempfile::Builder::new().prefix("fa").tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        for (n, disk) in disks.iter().enumerate() {
            let own = disk.folder("data");
            std::fs::create_dir(&own)?;
            std::os::unix::fs::symlink(own, data.join(format!("main-{n}")))?;
        }
        Apart::start_in(folder, None, disks.len(), "").await
    }

    async fn start_on(nets: Option<Nets>, n_spus: usize, more: &str) -> anyhow::Result<Apart> {
        let folder = tempfile::Builder::new().prefix("fa").tempdir()?;
        Apart::start_in(folder, nets, n_spus, more).await
    }

    async fn start_in(
        folder: tempfile::TempDir,
        nets: Option<Nets>,
        n_spus: usize,
        more: &str,
    ) -> anyhow::Result<Apart> {
        let ground = Ground { folder, owner: Owner::new()?, nets, more: more.to_string() };
        let authority = Authority::new()?;
        write_identity(&ground.folder.path().join("internal"), &authority, &authority.leaf(INTERNAL)?)?;
        let (routes, gateway) = (Arc::default(), TcpListener::bind("127.0.0.1:0").await?);
        let gateway_port = gateway.local_addr()?.port();
        let gateway = tokio::spawn(split(gateway, Arc::clone(&routes)));
        let sc = ground.start_sc([0, 0]).await?;
        let own = authority.leaf(INTERNAL)?;
        let spus = BTreeMap::new();
        let mut apart =
            Apart { ground, authority, own, sc, spus, routes, gateway, gateway_port, generation: 0 };
        for n in 0..n_spus {
            apart.start_spu(&format!("main-{n}"), "internal").await?;
        }
        let spus = (0..n_spus).map(|n| json!({"id": 5001 + n, "name": format!("main-{n}")})).collect();
        let (status, body) = apart.push(spus).await?;
        ensure!(status == StatusCode::NO_CONTENT, "{status}: {body}");
        apart.usable().await?;
        Ok(apart)
    }

    /// Starts an SPU with the internal certificate of this folder.
    pub async fn start_spu(&mut self, name: &str, identity: &str) -> anyhow::Result<()> {
        let server = self.ground.start_spu(name, identity, address(&self.sc.bound["link"])?).await?;
        self.route(name, &server)?;
        self.spus.insert(name.to_string(), server);
        Ok(())
    }

    /// The networks of its servers.
    pub fn nets(&self) -> anyhow::Result<&Nets> {
        self.ground.nets.as_ref().context("all servers are on loopback")
    }

    fn route(&self, name: &str, server: &Server) -> anyhow::Result<()> {
        let public = address(&server.bound["public"][0])?;
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(format!("{name}.{DOMAIN}"), public);
        Ok(())
    }

    /// An identity folder for somebody who is not of the cluster, who trusts its CA all the same.
    pub fn write_identity(&self, folder: &str, leaf: &Leaf) -> anyhow::Result<()> {
        write_identity(&self.ground.folder.path().join(folder), &self.authority, leaf)
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Pushes settings with these SPUs, as the provisioner would.
    pub async fn push(&mut self, spus: Vec<Value>) -> anyhow::Result<(StatusCode, String)> {
        self.generation += 1;
        let mut settings = self.ground.owner.settings(self.generation, self.gateway_port, "disk");
        settings["spus"] = spus.into();
        self.control(Method::PUT, "/v1/settings", settings.to_string()).await
    }

    pub async fn health(&self) -> anyhow::Result<Value> {
        let (_, body) = self.control(Method::GET, "/v1/health", String::new()).await?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Waits until a client could use it.
    pub async fn usable(&self) -> anyhow::Result<()> {
        until("a client could use it", START_WITHIN, async || {
            let health = self.health().await?;
            ensure!(health["ready"] == true, "{health}");
            Ok(Some(()))
        })
        .await
        .with_context(|| self.logs())
    }

    /// Waits until the SC says that the SPU is there, or that it is not; how long that took.
    pub async fn wait_online(&self, spu: &str, online: bool, limit: Duration) -> anyhow::Result<Duration> {
        let begun = std::time::Instant::now();
        until(&format!("{spu} is online: {online}"), limit, async || {
            let health = self.health().await?;
            let spus = health["spus"].as_array().context("health lists SPUs")?;
            let found = spus.iter().find(|entry| entry["name"] == spu);
            Ok(found.filter(|entry| entry["online"] == online).map(|_| ()))
        })
        .await
        .with_context(|| self.logs())?;
        Ok(begun.elapsed())
    }

    async fn control(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<(StatusCode, String)> {
        let stream = self.connect("control", Some(&self.own)).await?;
        within("the control socket answers", START_WITHIN, ask(stream, method, path, body)).await
    }

    /// What an internal socket of the SC answers to whoever has this certificate.
    pub async fn answer_to(&self, socket: &str, leaf: Option<&Leaf>) -> anyhow::Result<String> {
        let asking = async {
            let mut stream = self.connect(socket, leaf).await?;
            let request = b"GET /v1/health HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n";
            // Somebody who is sent away may hear of it only when reading.
            let _ = stream.write_all(request).await;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        within("an answer or an end", START_WITHIN, asking).await
    }

    async fn connect(&self, socket: &str, leaf: Option<&Leaf>) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(leaf.key.as_bytes())?,
            )?,
        };
        let stream = TcpStream::connect(address(&self.sc.bound[socket])?).await?;
        Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(INTERNAL)?, stream).await?)
    }

    /// What a server says to somebody who only knows its probe's port.
    pub async fn probe(&self, server: &str, path: &str) -> anyhow::Result<(StatusCode, String)> {
        let server = if server == "sc" { &self.sc } else { self.spu(server)? };
        let stream = TcpStream::connect(address(&server.bound["probe"])?).await?;
        ask(stream, Method::GET, path, String::new()).await
    }

    /// How the published client reaches it.
    pub fn profile(&self) -> anyhow::Result<FluvioClusterConfig> {
        let who = self.ground.owner.credentials.clone();
        let certs = TlsCerts { domain: who.domain, key: who.key, cert: who.certificate, ca_cert: who.ca };
        let sc = address(&self.sc.bound["public"][0])?;
        Ok(FluvioClusterConfig::new(sc.to_string()).with_tls(certs))
    }

    fn spu(&self, name: &str) -> anyhow::Result<&Server> {
        self.spus.get(name).with_context(|| format!("{name} was not started"))
    }

    pub fn process(&self, server: &str) -> anyhow::Result<Process> {
        let server = if server == "sc" { &self.sc } else { self.spu(server)? };
        let pid = i32::try_from(server.child.id())?;
        Ok(Process { pid, arguments: vec!["fluvio-cluster".to_string()] })
    }

    /// Stops a server dead, as it is, and waits until no thread of it runs.
    pub fn freeze(&self, server: &str) -> anyhow::Result<()> {
        let process = self.process(server)?;
        process.signal(rustix::process::Signal::STOP)?;
        until_blocking("every thread stopped", Duration::from_secs(10), || stopped(process.pid).then_some(()))
    }

    pub fn thaw(&self, server: &str) -> anyhow::Result<()> {
        self.process(server)?.signal(rustix::process::Signal::CONT)
    }

    /// The first log file of a partition on an SPU's disk.
    pub fn log_file(&self, spu: &str, topic: &str, partition: u32) -> anyhow::Result<PathBuf> {
        let logs = self.ground.folder.path().join("data").join(spu).join("log");
        let end = format!("-{partition}");
        let found = std::fs::read_dir(&logs)?.filter_map(Result::ok).map(|entry| entry.path()).find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(&format!("{topic}-")) && name.ends_with(&end)
        });
        let folder = found.with_context(|| format!("{spu} has no copy of {topic}-{partition}"))?;
        Ok(folder.join(format!("{:020}.log", 0)))
    }

    /// Takes a server away: its process, not its folder.
    pub fn take_away(&mut self, spu: &str) {
        self.spus.remove(spu);
    }

    /// Ends the SC and starts it on the same ports, as a pod that is started anew.
    pub async fn restart_sc(&mut self) -> anyhow::Result<()> {
        self.process("sc")?.kill()?;
        let ports = [address(&self.sc.bound["link"])?.port(), address(&self.sc.bound["control"])?.port()];
        self.sc = self.ground.start_sc(ports).await?;
        Ok(())
    }

    /// What all servers wrote since they started.
    pub fn logs(&self) -> String {
        let names = self.spus.keys().map(String::as_str).chain(["sc"]);
        names.map(|name| format!("── {name}\n{}", self.log(name))).collect()
    }

    /// What a server wrote since its start.
    pub fn log(&self, server: &str) -> String {
        std::fs::read_to_string(self.ground.folder.path().join(format!("{server}.log"))).unwrap_or_default()
    }
}
