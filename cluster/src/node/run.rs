//! Wires the parts together and waits for the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address_file::{self, Bound};
use super::spu_settings;
use crate::access::PolicyWatch;
use crate::config::{Config, ScConfig, SpuConfig};
use crate::connection::{ConnectionLimit, ListenAddress, Listener, Server, Service, Timing};
use crate::control::{self, Facts, Probe};
use crate::internal::{Address, Dialler, Identity, Listener as InternalListener};
use crate::link::{self, Relay, SpuLink};
use crate::peer::{self, Peers};
use crate::sc::Sc;
use crate::sc::admin::AdminService;
use crate::spu::{Spu, SpuOptions, kept_assignments};
use crate::tls::ServerName;
use crate::usage::Usage;

/// How long everything has to end.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// What SC and SPU of one process share.
struct Process {
    config: Config,
    usage: Arc<Usage>,
    limit: Arc<ConnectionLimit>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// With what internal sockets over TCP are secured.
    identity: Option<Arc<Identity>>,
}

/// Runs the process until a signal asks it to end.
pub async fn until_stopped(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let identity = config.internal.clone().map(Identity::load).transpose()?;
    let process = Process {
        config,
        identity: identity.map(Arc::new),
        usage: Arc::default(),
        limit: Arc::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    let signalled = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // The probes answer until everything else has ended.
    let (result, _probes) = process.run(signalled).await;
    tracing::info!("stopping");
    process.stop.cancel();
    process.tasks.close();
    if tokio::time::timeout(STOP_PATIENCE, process.tasks.wait()).await.is_err() {
        tracing::warn!(n_left = process.tasks.len(), "not everything ended in time");
    }
    result
}

impl Process {
    /// Starts and goes on until a signal; that may come while logs are still read after a crash.
    async fn run(&self, signalled: impl Future<Output = ()>) -> (anyhow::Result<()>, Vec<Probe>) {
        tokio::pin!(signalled);
        let started = tokio::select! {
            started = self.start() => started,
            () = &mut signalled => return (Ok(()), Vec::new()),
        };
        let probes = match started {
            Ok(probes) => probes,
            Err(error) => return (Err(error), Vec::new()),
        };
        let result = tokio::select! {
            () = signalled => Ok(()),
            // Whoever supervises the process starts it anew; half an SC would only look alive.
            () = self.stop.cancelled() => Err(anyhow::anyhow!("a part of the process failed")),
        };
        (result, probes)
    }

    async fn start(&self) -> anyhow::Result<Vec<Probe>> {
        let mut probes = Vec::new();
        if let Some(sc) = &self.config.sc {
            probes.extend(self.start_sc(sc).await.context("cannot start the SC")?);
        }
        if let Some(spu) = &self.config.spu {
            probes.extend(self.start_spu(spu).await.context("cannot start the SPU")?);
        }
        Ok(probes)
    }

    async fn start_sc(&self, config: &ScConfig) -> anyhow::Result<Option<Probe>> {
        let probe = self.probe(config.probe.as_deref()).await?;
        let owner = self.config.owner();
        let lost_after = Duration::from_secs(config.spu_lost_after_seconds);
        let (sc, engine) = Sc::start(self.config.sc_dir(), owner, lost_after, self.stop.clone())?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = engine.await {
                tracing::error!(%error, "the SC's engine failed");
                stop.cancel();
            }
        });
        let links = self.listen(&config.link).await?;
        let link = links.tcp_address();
        let relay = Arc::new(Relay::default());
        self.tasks.spawn(link::listen::serve(links, sc.clone(), relay, self.stop.clone()));
        let service = Arc::new(AdminService::new(sc.clone(), self.usage.clone()));
        let public = self.serve_public(&config.public, ServerName::Sc, sc.policy(), service).await?;
        // Last: whoever finds this socket may take it that the others are there.
        let controls = self.listen(&config.control).await?;
        let control = controls.tcp_address();
        if let Some(path) = &config.address_file {
            let probe = probe.as_ref().map(Probe::address);
            address_file::write(path, &Bound { public, link, control, probe })?;
        }
        let routes = control::sc_routes(sc.clone(), self.usage.clone());
        self.tasks.spawn(control::serve(controls, routes, self.stop.clone()));
        Ok(probe.inspect(|probe| probe.started(Facts::Sc(sc))))
    }

    async fn start_spu(&self, config: &SpuConfig) -> anyhow::Result<Option<Probe>> {
        let probe = self.probe(config.probe.as_deref()).await?;
        let folder = self.config.spu_dir(&config.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let kept = kept_assignments(&folder)?;
        let owner = self.config.owner();
        let settings = spu_settings::kept(&folder, owner);
        let dialler = self.dialler(&config.link)?;
        let peers = match &config.peer {
            Some(address) => Some(self.listen(address).await?),
            None => None,
        };
        let peer = peers.as_ref().and_then(|bound| reached(config, bound));
        let name = config.name.clone();
        let (link, dialling) = SpuLink::new(name, dialler, peer, kept, settings, self.stop.clone());
        let (policy, follow) = spu_settings::follow(link.clone(), folder.clone(), owner, self.stop.clone());
        let spu = Spu::start(SpuOptions {
            name: config.name.clone(),
            folder,
            link: link.clone(),
            policy: policy.clone(),
            peers: Peers::new(link.peers(), self.identity.clone()),
            usage: self.usage.clone(),
            host_reserve_bytes: self.config.host_reserve_bytes,
            move_bytes_per_second: config.move_bytes_per_second,
            scrub: config.scrub,
            stop: self.stop.clone(),
        })
        .await?;
        let name = ServerName::Spu(config.name.clone());
        let public = self.serve_public(&config.public, name, policy.clone(), spu.requests()).await?;
        if let Some(listener) = peers {
            self.tasks.spawn(peer::serve(listener, Arc::clone(&spu), self.stop.clone()));
        }
        self.tasks.spawn(follow);
        self.tasks.spawn(spu.run());
        // Only now, so that the SC sends nobody to an SPU that does not listen yet.
        self.tasks.spawn(dialling);
        let mut bound = Bound { public, probe: probe.as_ref().map(Probe::address), ..Bound::default() };
        if let Some(address) = &config.control {
            let controls = self.listen(address).await?;
            bound.control = controls.tcp_address();
            let routes = control::spu_routes(link.clone(), self.usage.clone());
            self.tasks.spawn(control::serve(controls, routes, self.stop.clone()));
        }
        if let Some(path) = &config.address_file {
            address_file::write(path, &bound)?;
        }
        Ok(probe.inspect(|probe| probe.started(Facts::Spu { link, policy })))
    }

    /// Before anything that may take its time, such as reading the logs after a crash.
    async fn probe(&self, address: Option<&str>) -> anyhow::Result<Option<Probe>> {
        let Some(address) = address else { return Ok(None) };
        let listening = Probe::listen(address, self.usage.clone(), self.stop.clone()).await;
        listening.map(Some).with_context(|| format!("cannot listen on tcp:{address}"))
    }

    async fn listen(&self, address: &Address) -> anyhow::Result<InternalListener> {
        Ok(match address {
            Address::Unix(path) => InternalListener::unix(path)?,
            Address::Tcp(address) => InternalListener::tls(address, self.identity()?).await?,
        })
    }

    fn dialler(&self, address: &Address) -> anyhow::Result<Dialler> {
        Ok(match address {
            Address::Unix(path) => Dialler::Unix(path.clone()),
            Address::Tcp(address) => Dialler::Tls { address: address.clone(), identity: self.identity()? },
        })
    }

    fn identity(&self) -> anyhow::Result<Arc<Identity>> {
        self.identity.clone().context("the section [internal] is missing")
    }

    async fn serve_public<S: Service>(
        &self,
        addresses: &[ListenAddress],
        name: ServerName,
        policy: PolicyWatch,
        service: Arc<S>,
    ) -> anyhow::Result<Vec<SocketAddr>> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.push(Listener::bind(address.clone()).await?);
        }
        let bound = listeners.iter().filter_map(Listener::tcp_address).collect();
        let server = Arc::new(Server {
            name,
            policy,
            limit: self.limit.clone(),
            usage: self.usage.clone(),
            timing: Timing::default(),
            stop: self.stop.clone(),
        });
        self.tasks.spawn(crate::connection::serve(listeners, server, service));
        Ok(bound)
    }
}

/// Where other SPUs reach this one: as configured, else where it listens.
fn reached(config: &SpuConfig, bound: &InternalListener) -> Option<String> {
    let listens = match bound.tcp_address() {
        Some(address) => Some(Address::Tcp(address.to_string())),
        None => config.peer.clone(),
    };
    config.peer_address.clone().or(listens).map(|address| address.to_string())
}
