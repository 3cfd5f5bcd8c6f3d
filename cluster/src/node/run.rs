//! Wires the parts together and waits for the end.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{address_file, spu_settings};
use crate::access::PolicyWatch;
use crate::config::{Config, ScConfig, SpuConfig};
use crate::connection::{ConnectionLimit, ListenAddress, Listener, Server, Service, Timing};
use crate::control;
use crate::link::{self, Relay, SpuLink};
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
}

/// Runs the process until a signal asks it to end.
pub async fn until_stopped(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let process = Process {
        config,
        usage: Arc::default(),
        limit: Arc::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    let mut result = process.start().await;
    if result.is_ok() {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // Whoever supervises the process starts it anew; half an SC would only look alive.
            () = process.stop.cancelled() => result = Err(anyhow::anyhow!("a part of the process failed")),
        }
        tracing::info!("stopping");
    }
    process.stop.cancel();
    process.tasks.close();
    if tokio::time::timeout(STOP_PATIENCE, process.tasks.wait()).await.is_err() {
        tracing::warn!(n_left = process.tasks.len(), "not everything ended in time");
    }
    result
}

impl Process {
    async fn start(&self) -> anyhow::Result<()> {
        if let Some(sc) = &self.config.sc {
            self.start_sc(sc).await.context("cannot start the SC")?;
        }
        if let Some(spu) = &self.config.spu {
            self.start_spu(spu).await.context("cannot start the SPU")?;
        }
        Ok(())
    }

    async fn start_sc(&self, config: &ScConfig) -> anyhow::Result<()> {
        let owner = self.config.owner();
        let (sc, engine) = Sc::start(self.config.sc_dir(), owner, self.stop.clone())?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = engine.await {
                tracing::error!(%error, "the SC's engine failed");
                stop.cancel();
            }
        });
        let links = control::bind_private(&config.link)?;
        self.tasks.spawn(link::listen::serve(
            links,
            sc.clone(),
            Arc::new(Relay::default()),
            self.stop.clone(),
        ));
        let service = Arc::new(AdminService::new(sc.clone(), self.usage.clone()));
        self.serve_public(
            &config.public,
            config.address_file.as_deref(),
            ServerName::Sc,
            sc.policy(),
            service,
        )
        .await?;
        // Last: whoever finds this socket may take it that the others are there.
        let control = control::bind_private(&config.control)?;
        let routes = control::sc_routes(sc, self.usage.clone());
        self.tasks.spawn(control::serve(control, routes, self.stop.clone()));
        Ok(())
    }

    async fn start_spu(&self, config: &SpuConfig) -> anyhow::Result<()> {
        let folder = self.config.spu_dir(&config.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let kept = kept_assignments(&folder)?;
        let owner = self.config.owner();
        let settings = spu_settings::kept(&folder, owner);
        let (link, dialling) =
            SpuLink::new(config.name.clone(), config.link.clone(), kept, settings, self.stop.clone());
        let (policy, follow) = spu_settings::follow(link.clone(), folder.clone(), owner, self.stop.clone());
        let spu = Spu::start(SpuOptions {
            name: config.name.clone(),
            folder,
            link: link.clone(),
            policy: policy.clone(),
            usage: self.usage.clone(),
            host_reserve_bytes: self.config.host_reserve_bytes,
            stop: self.stop.clone(),
        })
        .await?;
        self.serve_public(
            &config.public,
            config.address_file.as_deref(),
            ServerName::Spu(config.name.clone()),
            policy,
            spu.requests(),
        )
        .await?;
        self.tasks.spawn(follow);
        self.tasks.spawn(spu.run());
        // Only now, so that the SC sends nobody to an SPU that does not listen yet.
        self.tasks.spawn(dialling);
        if let Some(path) = &config.control {
            let control = control::bind_private(path)?;
            let routes = control::spu_routes(link, self.usage.clone());
            self.tasks.spawn(control::serve(control, routes, self.stop.clone()));
        }
        Ok(())
    }

    async fn serve_public<S: Service>(
        &self,
        addresses: &[ListenAddress],
        address_file: Option<&Path>,
        name: ServerName,
        policy: PolicyWatch,
        service: Arc<S>,
    ) -> anyhow::Result<()> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.push(Listener::bind(address.clone()).await?);
        }
        let bound: Vec<SocketAddr> = listeners.iter().filter_map(Listener::tcp_address).collect();
        let server = Arc::new(Server {
            name,
            policy,
            limit: self.limit.clone(),
            usage: self.usage.clone(),
            timing: Timing::default(),
            stop: self.stop.clone(),
        });
        self.tasks.spawn(crate::connection::serve(listeners, server, service));
        match address_file {
            Some(path) => address_file::write(path, &bound),
            None => Ok(()),
        }
    }
}
