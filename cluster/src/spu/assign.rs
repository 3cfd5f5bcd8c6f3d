//! Makes the partitions of this SPU what the SC says they are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::Durability;
use cluster_storage::PartitionName;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::copies::Lead;
use super::{Replica, Spu, kept};
use crate::link::{Assignment, PartitionKey, View};

/// Partitions opened at a time: recovery reads the disk.
const OPENED_AT_ONCE: usize = 4;

/// A copy that could not be removed is tried again after this long.
const REMOVED_AGAIN: Duration = Duration::from_secs(1);

/// Why the SC is not told yet that its word is followed; what could be done is done all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unapplied {
    /// A restart would serve less than the SC was told.
    #[error("cannot keep the assignments on disk: {0}")]
    Kept(#[from] io::Error),
    /// Once told, the SC forgets a deleted topic, and nobody would ever remove what is left of it.
    #[error("{0} partitions that are deleted or elsewhere are still on disk")]
    Removed(usize),
}

impl Spu {
    /// Applies the link's view: keeps it, closes what is no longer assigned, opens what is new, removes what
    /// the SC says was deleted, and tells the SC when all that is done. Applied twice it changes nothing.
    pub(super) async fn apply_view(self: &Arc<Self>) -> Result<(), Unapplied> {
        let _one_at_a_time = self.applying.lock().await;
        let view = Arc::clone(&self.link.view().borrow());
        let kept = kept::save(&self.folder, view.assignments.values().cloned().collect()).await;
        let replicas = self.next_replicas(&view).await;
        let before = self.replicas.all();
        let gone: Vec<_> = before.into_iter().filter(|old| !still_assigned(old, &view)).collect();
        // Out of sight first, so that nobody finds a log that is being closed.
        let (replicas, begun) = match self.id() {
            Some(own) => {
                let leads = |now: &Replica, lead: &Lead| now.leads && lead.is_of(&now.assignment);
                self.leads.end_unless(|key, lead| {
                    replicas.iter().any(|now| now.assignment.key == *key && leads(now, lead))
                });
                self.follows.follow(self, own, &replicas);
                let (replicas, begun) = self.begin_leads(replicas).await;
                self.leads.follow(own, &replicas, &self.link);
                (replicas, begun)
            }
            None => (replicas, Ok(())),
        };
        self.replicas.replace(replicas);
        for replica in gone.iter().filter(|old| !view.retired.contains(&old.assignment.topic_id)) {
            replica.close().await;
        }
        let n_left = self.remove_retired(&view, &gone).await;
        for replica in self.replicas.all() {
            self.report(&replica);
        }
        kept.and(begun)?;
        if n_left > 0 {
            return Err(Unapplied::Removed(n_left));
        }
        self.link.applied_view(view.revision);
        Ok(())
    }

    async fn next_replicas(&self, view: &View) -> Vec<Arc<Replica>> {
        let own_id = self.id();
        let durability = self.durability();
        let known: BTreeMap<PartitionKey, Arc<Replica>> = self
            .replicas
            .all()
            .into_iter()
            .map(|replica| (replica.assignment.key.clone(), replica))
            .collect();
        let assignments: Vec<Assignment> = view.assignments.values().cloned().collect();
        stream::iter(assignments)
            .map(|assignment| {
                let known = known.get(&assignment.key).cloned();
                let leads = Some(assignment.leader) == own_id && self.bygone.may_lead(&assignment);
                // Boxed, since the compiler cannot tell that the bare future may change threads.
                self.next_replica(known, assignment, leads, durability).boxed()
            })
            .buffer_unordered(OPENED_AT_ONCE)
            .collect()
            .await
    }

    /// Before a lead begins: what a leader before sent is written, so that it is known where the epoch begins; and that
    /// this copy is whole of it is kept, since it counts from then on. Those of which that cannot be kept do not lead in
    /// this epoch: the SC hears so, and has another copy lead.
    async fn begin_leads(&self, replicas: Vec<Arc<Replica>>) -> (Vec<Arc<Replica>>, io::Result<()>) {
        let begins = |replica: &&Arc<Replica>| {
            let led = self.leads.get(&replica.assignment.key);
            replica.leads && replica.has_copies() && !led.is_some_and(|led| led.is_of(&replica.assignment))
        };
        let beginning: Vec<&Arc<Replica>> = replicas.iter().filter(begins).collect();
        // A log that takes nothing has nothing on its way either.
        let logs = beginning.iter().filter_map(|replica| replica.log.as_ref().ok());
        join_all(logs.map(|log| log.truncate(i64::MAX))).await;
        let kept = match self.durability() {
            Durability::Disk => {
                self.wholes.are(beginning.iter().map(|led| (led.id(), led.assignment.epoch))).await
            }
            Durability::Memory => Ok(()),
        };
        if kept.is_ok() {
            return (replicas, kept);
        }
        let stay = |replica: &Arc<Replica>| {
            if !begins(&replica) {
                return Arc::clone(replica);
            }
            self.bygone.add(&replica.assignment);
            let (assignment, log) = (replica.assignment.clone(), replica.log.clone());
            Arc::new(Replica { assignment, leads: false, log })
        };
        (replicas.iter().map(stay).collect(), kept)
    }

    /// What an acknowledgement promises.
    pub(super) fn durability(&self) -> Durability {
        self.policy.borrow().as_ref().map_or(Durability::Disk, |policy| policy.settings.durability)
    }

    /// Throws a copy away that is of no use any more and begins it where its leader's log does.
    pub(super) async fn begin_anew(self: &Arc<Self>, assignment: &Assignment, first_offset: i64) {
        let removed = {
            let _one_at_a_time = self.applying.lock().await;
            let Some(folder) = Replica::folder_of(assignment) else { return };
            // Meanwhile this SPU may have been told to lead it, or to follow another, who may not have more.
            let now = self.link.view().borrow().assignments.get(&assignment.key).cloned();
            let same = |now: &Assignment| {
                (now.topic_id, now.epoch, now.leader)
                    == (assignment.topic_id, assignment.epoch, assignment.leader)
            };
            if !now.is_some_and(|now| same(&now)) {
                return;
            }
            let found = self.replicas.get(&assignment.key.topic, assignment.key.partition);
            let open = found.as_ref().filter(|found| found.assignment.topic_id == assignment.topic_id);
            let removed = self.remove(&folder, open.and_then(|open| open.log.as_ref().ok())).await;
            let durability = cluster_settings::Durability::Disk;
            let config =
                cluster_storage::Config { first_offset, ..Replica::config_of(assignment, durability) };
            let log = self.open_log(assignment, config).await;
            let anew = Arc::new(Replica { assignment: assignment.clone(), leads: false, log });
            let others =
                self.replicas.all().into_iter().filter(|other| other.assignment.key != assignment.key);
            self.replicas.replace(others.chain([anew]).collect());
            removed
        };
        if let Err(error) = removed {
            error!(partition = %assignment.key, %error, "a copy cannot be thrown away yet");
            // It is too old still, and is soon here again.
            sleep(REMOVED_AGAIN).await;
        }
        if let Err(error) = self.apply_view().await {
            warn!(%error, "the SC's word is not followed in all yet");
        }
    }

    async fn next_replica(
        &self,
        known: Option<Arc<Replica>>,
        assignment: Assignment,
        leads: bool,
        durability: Durability,
    ) -> Arc<Replica> {
        let config = Replica::config_of(&assignment, durability);
        let Some(known) = known.filter(|known| known.assignment.topic_id == assignment.topic_id) else {
            let log = self.open_log(&assignment, config).await;
            return Arc::new(Replica { assignment, leads, log });
        };
        let log = match &known.log {
            Ok(log) => {
                // Even for an unchanged assignment: the durability may be another one now.
                log.configure(config);
                Ok(log.clone())
            }
            Err(_) => self.open_log(&assignment, config).await,
        };
        if log.is_ok() && known.log.is_ok() && known.assignment == assignment && known.leads == leads {
            return known;
        }
        Arc::new(Replica { assignment, leads, log })
    }

    async fn open_log(
        &self,
        assignment: &Assignment,
        config: cluster_storage::Config,
    ) -> Result<cluster_storage::Partition, Arc<str>> {
        let folder = Replica::folder_of(assignment).ok_or("the topic's name cannot be a folder's")?;
        match self.store.0.open(&folder, config).await {
            Ok(log) => {
                self.replicas.remember_folders(vec![folder]);
                Ok(log)
            }
            Err(error) => {
                error!(partition = %assignment.key, %error, "the partition cannot be opened");
                Err(error.to_string().into())
            }
        }
    }

    /// Removes the data of deleted incarnations and the copies that others have in this SPU's place: nothing else is
    /// ever removed. Says how many partitions could not be.
    async fn remove_retired(&self, view: &View, gone: &[Arc<Replica>]) -> usize {
        let mut n_left = 0;
        for folder in self.replicas.folders() {
            let retired = Replica::incarnation_of(&folder).is_some_and(|id| {
                view.retired.contains(&id) || view.dropped.contains(&(id, folder.partition()))
            });
            if retired {
                let open = gone
                    .iter()
                    .find(|old| Replica::folder_of(&old.assignment).as_ref() == Some(&folder))
                    .and_then(|old| old.log.as_ref().ok());
                match self.remove(&folder, open).await {
                    Ok(()) => {
                        info!(%folder, "removed a partition that is deleted or elsewhere");
                        self.replicas.forget_folder(&folder);
                    }
                    Err(error) => {
                        warn!(%folder, %error, "cannot remove a partition yet");
                        n_left += 1;
                    }
                }
            }
        }
        n_left
    }

    async fn remove(
        &self,
        folder: &PartitionName,
        open: Option<&cluster_storage::Partition>,
    ) -> Result<(), cluster_storage::OpenError> {
        if let Some(topic_id) = Replica::incarnation_of(folder) {
            // First: another copy in its place is whole of nothing.
            let forgotten = self.wholes.forget((topic_id, folder.partition())).await;
            forgotten.map_err(cluster_storage::OpenError::io(&self.folder))?;
        }
        if let Some(log) = open {
            log.delete().await?;
        }
        // Also after that: a log which was closed already removes nothing by itself.
        self.store.0.remove(folder).await
    }
}

fn still_assigned(old: &Replica, view: &View) -> bool {
    view.assignments
        .get(&old.assignment.key)
        .is_some_and(|assignment| assignment.topic_id == old.assignment.topic_id)
}
