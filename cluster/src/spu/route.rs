//! Who serves a partition: this SPU, or the one that leads it. A client may ask any SPU, since the published ones
//! go on calling the address that they learnt first.

use std::sync::Arc;
use std::time::Duration;

use cluster_storage::Partition;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::{Replica, Spu, changed};
use crate::link::{Leader, PartitionKey};
use crate::wire::ErrorCode;
use crate::wire::admin::is_called;

/// How long a request that nobody serves now is held, while another leader is elected. Clients wait a minute.
pub(super) const HELD: Duration = Duration::from_secs(20);

/// A leader that is known and does not serve yet is asked again after this long.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// Who serves a partition now.
pub(super) enum Route {
    /// This SPU.
    Here(Arc<Replica>, Partition),
    /// The SPU of this leader.
    There(Leader),
    /// Nobody yet: its leader, this SPU, is just beginning to.
    Soon,
}

impl Route {
    /// The topic's incarnation that is served, as far as is known now.
    pub(super) fn topic_id(&self) -> Option<Uuid> {
        match self {
            Self::Here(replica, _) => Some(replica.assignment.topic_id),
            Self::There(leader) => Some(leader.topic_id),
            Self::Soon => None,
        }
    }
}

impl Spu {
    /// Whether the SC keeps a SmartModule of this name, given as `[group/]name[@version]`.
    pub(super) fn is_kept(&self, name: &str) -> bool {
        self.link.view().borrow().smart_modules.iter().any(|kept| is_called(kept, name))
    }

    /// Who serves it now; the code given for a partition that does not exist, as far as is known here.
    pub(super) fn route(&self, key: &PartitionKey, unknown: ErrorCode) -> Result<Route, ErrorCode> {
        let own = self.replicas.get(&key.topic, key.partition);
        let leader = self.link.view().borrow().leaders.get(key).copied();
        // The SC's word may be newer than what is followed of it, on a disk that hangs by much.
        let is_over = |replica: &Arc<Replica>| {
            let own = &replica.assignment;
            leader.is_some_and(|now| now.topic_id == own.topic_id && now.epoch > own.epoch)
        };
        if let Some(replica) = own.filter(|replica| replica.leads && !is_over(replica)) {
            let log = replica.log.clone().map_err(|_| ErrorCode::StorageError)?;
            return Ok(Route::Here(replica, log));
        }
        let leader = leader.ok_or(unknown)?;
        Ok(if Some(leader.spu) == self.id() { Route::Soon } else { Route::There(leader) })
    }

    /// Returns when something may have changed about who serves what; an error when it is too late.
    pub(super) async fn rerouted(&self, deadline: Instant) -> Result<(), ErrorCode> {
        let mut view = self.link.view();
        view.mark_unchanged();
        tokio::select! {
            () = changed(&mut view) => Ok(()),
            () = sleep(AGAIN) => Ok(()),
            () = sleep_until(deadline) => Err(ErrorCode::NotLeaderForPartition),
        }
    }
}
