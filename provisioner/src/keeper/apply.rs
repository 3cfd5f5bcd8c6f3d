//! What to do: the acting half of a keeper. Every action may be cut off anywhere and be done again.

use cluster_settings::PublicEndpoint;
use tracing::info;
use uuid::Uuid;

use super::{Keeper, Order};
use crate::control::{Control, ControlError};
use crate::folder::FolderError;
use crate::plan::Action;
use crate::process::{Goal, processes_of_user, roles_for};
use crate::record::Record;
use crate::step::StepError;
use crate::store::{self, Wanted};
use crate::{identity, probe, settings};

impl Keeper {
    pub(super) async fn apply(&mut self, action: Action, order: &Order) -> Result<(), StepError> {
        match action {
            Action::Prepare => self.prepare(&order.wanted).await,
            Action::Supervise(roles) => {
                self.supervisor.aim(Goal::Run(roles));
                Ok(())
            }
            Action::Publish(backends) => {
                store::publish_backends(&self.ground.pool, order.lease, order.wanted.cluster, &backends)
                    .await?;
                self.backends = backends;
                Ok(())
            }
            Action::Ask => self.ask(order.wanted.cluster).await,
            Action::Push => self.push(&order.wanted).await,
            Action::Probe => self.probe(&order.wanted).await,
            Action::Purge => self.purge(order).await,
        }
    }

    /// Changes the record on the disk first, then in memory.
    pub(super) fn change_record(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), StepError> {
        let mut record = self.record.clone();
        change(&mut record);
        self.shelf.keep(&record).map_err(|error| own_disk(&error))?;
        self.record = record;
        Ok(())
    }

    async fn prepare(&mut self, wanted: &Wanted) -> Result<(), StepError> {
        let spus = wanted.spus.max(self.record.spus);
        if self.record.spus != spus || self.record.purging {
            // Before the first file: from here on a crash leaves something that the next start knows of.
            self.change_record(|record| {
                record.spus = spus;
                record.purging = false;
            })?;
        }
        let reserve = self.ground.process.host_reserve_bytes;
        let files = roles_for(spus)
            .into_iter()
            .map(|role| settings::process_config(&self.place, wanted.tenant, role, reserve));
        let files: Vec<_> = files.collect::<Result<_, _>>().map_err(|error| own_disk(&error))?;
        let (place, owner) = (self.place.clone(), self.owner);
        let prepared = tokio::task::spawn_blocking(move || place.prepare(owner, &files)).await;
        prepared.map_err(|error| own_disk(&error))?.map_err(|error| match error {
            FolderError::Io { .. } => own_disk(&error),
            FolderError::SocketPath(_) | FolderError::Closed(_) => StepError::Wrong {
                reason: "This machine is not set up for clusters; its operator has to look",
                error: error.to_string(),
            },
        })?;
        self.prepared_for = Some(spus);
        Ok(())
    }

    /// The key is on the disk, under the request's id, before the request is in the database.
    async fn ask(&mut self, cluster: Uuid) -> Result<(), StepError> {
        let new = identity::make().map_err(|error| own_disk(&error))?;
        let request = Uuid::new_v4();
        self.shelf.keep_key(request, &new.key_pem).map_err(|error| own_disk(&error))?;
        self.change_record(|record| record.asked = Some(request))?;
        let lifetime = self.ground.config.server_certificate_seconds;
        let asked = store::Request { id: request, kind: "server", csr: &new.csr_der };
        Ok(store::ask(&self.ground.pool, cluster, &[asked], lifetime).await?)
    }

    async fn push(&mut self, wanted: &Wanted) -> Result<(), StepError> {
        let Some(pid) = self.observed(wanted).sc() else { return Ok(()) };
        let Some(details) = store::details(&self.ground.pool, wanted.cluster).await? else {
            return Err(StepError::NotYet("the cluster's row is gone".into()));
        };
        let Some(held) = &self.held else { return Ok(()) };
        let config = &self.ground.config;
        let endpoint = PublicEndpoint { host: config.public_host.clone(), port: config.public_port };
        let spus = settings::spu_entries(wanted.spus.max(self.record.spus));
        let built =
            settings::build(wanted.cluster, spus, &details, &held.identity, endpoint, self.record.offset);
        let Some(built) = built else {
            return Err(StepError::NotYet("the cluster has no client CA yet".into()));
        };
        let request = held.request;
        let socket = self.place.socket("control");
        let control = Control::Socket { path: &socket, pid };
        match control.push(&built).await {
            Ok(()) => {
                info!(cluster = %wanted.cluster, generation = details.generation, "settings are in force");
                self.pushed = Some((details.generation, built.generation, request));
                self.server_ca = details.server_ca;
                self.health = control.health().await.ok();
                Ok(())
            }
            Err(ControlError::Away(error)) => Err(StepError::NotYet(error)),
            Err(ControlError::Newer) => self.get_ahead(control, built.generation).await,
            Err(error @ (ControlError::Stranger { .. } | ControlError::Refused(_))) => {
                Err(StepError::Wrong {
                    reason: "Its servers do not take their settings",
                    error: error.to_string(),
                })
            }
        }
    }

    /// The cluster has settings of a later generation than this provisioner would write: its own disk or the
    /// database are older than the cluster. What is wanted now is still what is wanted now.
    async fn get_ahead(&mut self, control: Control<'_>, ours: u64) -> Result<(), StepError> {
        let health = control.health().await.map_err(|error| StepError::NotYet(error.to_string()))?;
        let behind = (health.generation + 1).saturating_sub(ours);
        self.change_record(|record| record.offset += behind)?;
        Err(StepError::NotYet("the cluster has newer settings".into()))
    }

    async fn probe(&mut self, wanted: &Wanted) -> Result<(), StepError> {
        let config = &self.ground.config;
        let Some(server_ca) = &self.server_ca else {
            return Err(StepError::NotYet("the cluster has no server CA yet".into()));
        };
        let reached = probe::probe(&config.public_host, config.public_port, &wanted.domain, server_ca).await;
        reached.map_err(|error| StepError::NotYet(format!("through the gateway: {error}")))?;
        self.proven = true;
        Ok(())
    }

    /// Removes the cluster for good: what was kept, then its row, then what is known about it. The first
    /// step marks the record, so that a crash after the row is gone still ends with nothing left.
    async fn purge(&mut self, order: &Order) -> Result<(), StepError> {
        let cluster = order.wanted.cluster;
        store::confirm_purge(&self.ground.pool, order.lease, cluster).await?;
        self.change_record(|record| record.purging = true)?;
        let (place, user) = (self.place.clone(), self.owner.user);
        let removed = tokio::task::spawn_blocking(move || remove_for_good(&place, user)).await;
        removed.map_err(|error| own_disk(&error))?.map_err(|error| own_disk(&error))?;
        store::purge(&self.ground.pool, order.lease, cluster).await?;
        if let Some(users) = &self.ground.users {
            users.free(cluster).map_err(|error| own_disk(&error))?;
        }
        self.shelf.remove().map_err(|error| own_disk(&error))?;
        info!(%cluster, "removed for good");
        Err(StepError::Gone)
    }
}

/// Removes a cluster's folder and proves that neither files nor processes are left.
pub fn remove_for_good(place: &crate::folder::Place, user: Option<u32>) -> std::io::Result<()> {
    for pid in user.map(processes_of_user).transpose()?.into_iter().flatten() {
        // Not one of the supervised: those are gone. Whatever it is, it runs as this tenant.
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    place.remove()?;
    let processes = user.map(processes_of_user).transpose()?.unwrap_or_default();
    if !processes.is_empty() {
        return Err(std::io::Error::other(format!(
            "processes {processes:?} of the cluster's user still run"
        )));
    }
    if place.is_gone() { Ok(()) } else { Err(std::io::Error::other("the folder is still there")) }
}

fn own_disk(error: &dyn std::fmt::Display) -> StepError {
    StepError::Wrong { reason: "Its machine has trouble; still trying", error: error.to_string() }
}
