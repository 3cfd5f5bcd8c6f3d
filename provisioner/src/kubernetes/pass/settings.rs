//! What is told to a cluster's SC, and what it tells.

use std::time::Duration;

use cluster_settings::{PublicEndpoint, SpuEntry};
use tokio::time::Instant;
use tracing::info;

use super::{Pass, pace};
use crate::control::{Control, ControlError, ControlIdentity};
use crate::kubernetes::facts::content;
use crate::kubernetes::fleet::View;
use crate::kubernetes::mind::{Content, Pushed};
use crate::kubernetes::names;
use crate::kubernetes::objects::internal_name;
use crate::kubernetes::objects::secrets::Use;
use crate::settings::{self, ServerIdentity};
use crate::step::StepError;
use crate::store;
use crate::{control, probe};

/// The way to a cluster's SC.
struct Way {
    address: std::net::SocketAddr,
    name: String,
    identity: ControlIdentity,
}

impl Way {
    fn control(&self) -> Control<'_> {
        Control::Tls { address: self.address, name: &self.name, identity: &self.identity }
    }
}

impl Pass<'_> {
    /// The way to the SC, if it runs and can be talked to.
    async fn way(&mut self, view: &View) -> Result<Option<Way>, StepError> {
        let up = view.live.pod("sc-0").is_some_and(|pod| pod.started && !pod.ending);
        let (Some(address), true) = (view.live.address("sc"), up) else { return Ok(None) };
        let Some(secret) = self.mind.keys.secret(Use::Control).cloned() else { return Ok(None) };
        if self.mind.keys.control.is_none() {
            let found = self.ground.server.get_secret(&self.namespace(), &secret).await?;
            let data = found.and_then(|found| found.data).unwrap_or_default();
            let part = |name: &str| data.get(name).map_or(&[] as &[u8], |part| part.0.as_slice());
            let identity = ControlIdentity::from_pem(part("tls.crt"), part("tls.key"), part("ca.crt"));
            match identity {
                Ok(identity) => self.mind.keys.control = Some(Box::new(identity)),
                // Gone or spoilt: it is made anew.
                Err(error) => {
                    self.mind.keys.spoilt(Use::Control);
                    return Err(StepError::NotYet(format!("no identity of our own: {error}")));
                }
            }
        }
        let identity = self.mind.keys.control.as_deref().cloned();
        Ok(identity.map(|identity| Way {
            address: (address, names::SC_CONTROL).into(),
            name: internal_name(&view.row.wanted.domain),
            identity,
        }))
    }

    /// Asks the cluster how it is: often while it is not as it is wanted, rarely when it is.
    pub(super) async fn look_at_health(&mut self, view: &View) -> Result<(), StepError> {
        let every = Duration::from_secs(self.ground.fleet.site().config.health_seconds);
        // As long as the pause between passes: else every other one would find the last answer still good.
        let every = pace::spread(every, self.cluster);
        let fresh = |asked: Instant| asked.elapsed() + Duration::from_secs(1) < every;
        let all_ready = view.live.pods().all(|(_, pod)| pod.ready && !pod.ending);
        if self.mind.unsettled.is_none() && all_ready && self.mind.asked_at.is_some_and(fresh) {
            return Ok(());
        }
        let Some(way) = self.way(view).await? else {
            self.mind.health = None;
            return Ok(());
        };
        // No answer is no health; what to do about it is the same in each case.
        self.mind.health = way.control().health().await.ok();
        self.mind.asked_at = Some(Instant::now());
        self.assume_in_force(view);
        if let Some((health, pushed)) = self.mind.health.as_ref().zip(self.mind.pushed.as_ref())
            && health.generation < pushed.generation
        {
            self.mind.pushed = None;
        }
        Ok(())
    }

    /// After a start: a cluster that was recorded to be as it is wanted, and says nothing else, has its settings.
    fn assume_in_force(&mut self, view: &View) {
        let (Some(health), Some(content)) = (&self.mind.health, content(view, self.mind)) else { return };
        let recorded = self.mind.status.observed_generation == content.generation;
        let undisputed = !self.mind.keys.outdated.iter().any(|(purpose, _)| *purpose == Use::Server)
            && content.leaving_from == content.spus
            && health.spus.len() == usize::from(content.spus)
            && health.generation >= content.generation.unsigned_abs();
        if self.mind.pushed.is_none() && self.mind.offset.is_none() && recorded && undisputed {
            self.mind.offset = Some(health.generation - content.generation.unsigned_abs());
            self.mind.pushed = Some(Pushed { generation: health.generation, content });
        }
    }

    /// Gives the cluster its settings.
    pub(super) async fn push(&mut self, view: &View) -> Result<(), StepError> {
        let Some(content) = content(view, self.mind) else { return Ok(()) };
        let Some(way) = self.way(view).await? else { return Ok(()) };
        let Some(details) = store::details(&self.ground.pool, self.cluster).await? else {
            return Err(StepError::Gone);
        };
        let identity = self.server_identity(&content).await?;
        let offset = self.next_offset(details.generation, &content, &way).await?;
        let endpoint = PublicEndpoint {
            host: self.ground.config.public_host.clone(),
            port: self.ground.config.public_port,
        };
        let entries = self.entries(&content);
        let built = settings::build(self.cluster, entries, &details, &identity, endpoint, offset);
        let Some(built) = built else {
            return Err(StepError::NotYet("the cluster has no client CA yet".into()));
        };
        self.still_ours()?;
        match way.control().push(&built).await {
            Ok(()) => {
                info!(cluster = %self.cluster, generation = details.generation, "settings are in force");
                let content = Content { generation: details.generation, ..content };
                self.mind.pushed = Some(Pushed { content, generation: built.generation });
                self.mind.offset = Some(offset);
                self.mind.health = way.control().health().await.ok();
                Ok(())
            }
            Err(ControlError::Away(error)) => Err(StepError::NotYet(error)),
            Err(ControlError::Newer) => {
                self.mind.offset = None;
                Err(StepError::NotYet("the cluster has newer settings".into()))
            }
            Err(error @ (ControlError::Stranger { .. } | ControlError::Refused(_))) => {
                Err(StepError::Wrong {
                    reason: "Its servers do not take their settings",
                    error: error.to_string(),
                })
            }
        }
    }

    /// The settings' own generation never goes back and never stays while the content changes. After a start it
    /// goes on from what the cluster has.
    async fn next_offset(&self, wanted: i64, content: &Content, way: &Way) -> Result<u64, StepError> {
        let wanted = wanted.unsigned_abs();
        match (self.mind.offset, &self.mind.pushed) {
            (Some(offset), Some(pushed)) => {
                let same = Content { generation: content.generation, ..pushed.content.clone() } == *content;
                Ok(offset + u64::from(!same))
            }
            _ => {
                let health = way.control().health().await;
                let health: control::Health = health.map_err(|error| StepError::NotYet(error.to_string()))?;
                Ok(match health.generation {
                    0 => 0,
                    known => (known + 1).saturating_sub(wanted),
                })
            }
        }
    }

    async fn server_identity(&self, content: &Content) -> Result<ServerIdentity, StepError> {
        let found = self.ground.server.get_secret(&self.namespace(), &content.server).await?;
        let data = found.and_then(|found| found.data).unwrap_or_default();
        let text = |name: &str| data.get(name).map(|part| String::from_utf8_lossy(&part.0).into_owned());
        match text("tls.crt").zip(text("tls.key")) {
            Some((certificate_pem, key_pem)) => Ok(ServerIdentity { key_pem, certificate_pem }),
            None => Err(StepError::NotYet(format!("the Secret {} is not there", content.server))),
        }
    }

    fn entries(&self, content: &Content) -> Vec<SpuEntry> {
        let zones = &self.ground.fleet.site().config.zones;
        let numbered = names::spus(content.spus, zones).into_iter().zip(0..);
        let entry = |(spu, number): (names::Spu, u8)| SpuEntry {
            id: spu.id,
            name: spu.name,
            rack: (!zones.is_empty()).then_some(spu.set),
            leaving: number >= content.leaving_from,
            public_endpoint: None,
        };
        numbered.map(entry).collect()
    }

    /// Proves that a client gets through the gateway to this cluster.
    pub(super) async fn probe(&mut self, view: &View) -> Result<(), StepError> {
        let config = &self.ground.config;
        let server_ca = store::authority(&self.ground.pool, self.cluster, "server").await?;
        let Some(server_ca) = server_ca else {
            return Err(StepError::NotYet("the cluster has no server CA yet".into()));
        };
        let gateway = self.ground.fleet.site().config.gateway_address.as_deref();
        let gateway = gateway.and_then(|address| address.rsplit_once(':'));
        let (host, port) = gateway
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .unwrap_or((&config.public_host, config.public_port));
        let reached = probe::probe(host, port, &view.row.wanted.domain, &server_ca).await;
        reached.map_err(|error| StepError::NotYet(format!("through the gateway: {error}")))?;
        self.mind.proven = true;
        Ok(())
    }
}
