//! One cluster's keeper: a task that brings the cluster nearer to what is wanted until nothing is left to do,
//! then waits for a change. It reads what is, [plans](crate::plan), applies, and records.
//!
//! A pass never waits for anything slow: where something is not there yet, the pass ends, and the next one
//! looks again. So a change of what is wanted, deletion above all, is taken up at once at any point.

mod apply;
mod observe;
mod pace;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{Config, ProcessConfig};
use crate::control::Health;
use crate::folder::{Ownership, Place};
use crate::plan::{Action, plan};
use crate::process::{Supervision, Supervisor};
use crate::record::{Record, Shelf};
use crate::settings::ServerIdentity;
use crate::status::{Status, Trouble, describe};
use crate::step::StepError;
use crate::store::{self, Lease, Seen, StoreError, Wanted};
use crate::users::Users;

pub use apply::remove_for_good;

/// What all keepers share.
pub struct Ground {
    /// The configuration.
    pub config: Config,
    /// Its part for this runtime.
    pub process: ProcessConfig,
    /// The database.
    pub pool: PgPool,
    /// The tenants' users; `None` without root.
    pub users: Option<Users>,
    /// Changes whenever the signer answered somebody.
    pub certificates: watch::Receiver<u64>,
}

/// What a keeper is to bring about, and under which lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What is wanted.
    pub wanted: Wanted,
    /// The right to work on it.
    pub lease: Lease,
}

/// A certificate in use.
struct Held {
    request: Uuid,
    identity: ServerIdentity,
    not_after: OffsetDateTime,
}

/// See the module.
pub struct Keeper {
    ground: Arc<Ground>,
    place: Place,
    shelf: Shelf,
    owner: Ownership,
    supervisor: Arc<Supervisor>,
    supervision: watch::Receiver<Supervision>,
    record: Record,
    /// As the database has them, since this keeper writes them alone.
    status: Status,
    backends: BTreeMap<String, String>,
    prepared_for: Option<u8>,
    proven: bool,
    held: Option<Held>,
    server_ca: Option<Vec<u8>>,
    /// Wanted generation, settings' generation and certificate that were pushed last.
    pushed: Option<(i64, u64, Uuid)>,
    health: Option<Health>,
    trouble: Option<Trouble>,
    /// Since when the cluster is not as it is wanted.
    unsettled: Option<Instant>,
}

impl Keeper {
    /// The keeper of a cluster, as it was found.
    pub fn new(
        ground: Arc<Ground>,
        place: Place,
        owner: Ownership,
        supervisor: Arc<Supervisor>,
        seen: &Seen,
    ) -> Self {
        let shelf = Shelf::new(&ground.process.state_dir, place.cluster());
        let status = seen.status.clone().unwrap_or_default();
        Self {
            supervision: supervisor.state(),
            record: shelf.record(),
            // A cluster that was ready once was proven; its sockets' names never change.
            proven: status.ready || !ground.config.gateway_probe,
            backends: seen.backends.clone(),
            ground,
            place,
            shelf,
            owner,
            supervisor,
            status,
            prepared_for: None,
            held: None,
            server_ca: None,
            pushed: None,
            health: None,
            trouble: None,
            unsettled: None,
        }
    }

    /// Works until the cluster is gone, the lease is lost, or nobody gives orders any more.
    pub async fn run(mut self, mut orders: watch::Receiver<Order>) {
        let mut certificates = self.ground.certificates.clone();
        loop {
            let order = orders.borrow_and_update().clone();
            certificates.mark_unchanged();
            let started = Instant::now();
            match self.pass(&order).await {
                Ok(settled) => self.unsettled = if settled { None } else { self.unsettled.or(Some(started)) },
                Err(StepError::Gone) => return,
                Err(error) => {
                    warn!(cluster = %self.place.cluster(), %error, "no longer this provisioner's cluster");
                    return;
                }
            }
            let waited = self.unsettled.map(|since| since.elapsed());
            let pause = pace::pause(waited, self.trouble.as_ref().map_or(0, |trouble| trouble.times));
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return },
                changed = self.supervision.changed() => if changed.is_err() { return },
                Ok(()) = certificates.changed(), if self.record.asked.is_some() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One pass; `true` when nothing is left to do. Errors are only those that end the keeper.
    async fn pass(&mut self, order: &Order) -> Result<bool, StepError> {
        let (nothing_left, trouble) = match self.work(order).await {
            Ok(nothing_left) => (nothing_left, None),
            Err(StepError::NotYet(error) | StepError::Away(error)) => (false, self.impatience(error)),
            Err(StepError::Wrong { reason, error }) => (false, Some(self.next_trouble(reason, error))),
            Err(end @ (StepError::Fenced | StepError::Gone)) => return Err(end),
        };
        self.trouble = trouble;
        let observed = self.observed(&order.wanted);
        let status = describe(&order.wanted, &observed, &self.status, self.trouble.as_ref());
        let settled = nothing_left && pace::is_settled(&status);
        if status != self.status {
            match store::record_status(&self.ground.pool, order.lease, order.wanted.cluster, &status).await {
                Ok(()) => self.note_recorded(status),
                Err(StoreError::Fenced) => return Err(StepError::Fenced),
                Err(error) => {
                    warn!(cluster = %self.place.cluster(), %error, "cannot record the status");
                    return Ok(false);
                }
            }
        }
        Ok(settled)
    }

    /// Applies plans until one is empty. The bound keeps a plan that never gets empty from spinning.
    async fn work(&mut self, order: &Order) -> Result<bool, StepError> {
        for _ in 0..8 {
            self.look(&order.wanted).await?;
            let actions = plan(&order.wanted, &self.observed(&order.wanted));
            let left_to_the_supervisor = actions.iter().all(|action| matches!(action, Action::Supervise(_)));
            let nothing = actions.is_empty();
            for action in actions {
                self.apply(action, order).await?;
            }
            if nothing || left_to_the_supervisor {
                return Ok(nothing);
            }
        }
        Ok(false)
    }

    fn note_recorded(&mut self, status: Status) {
        if status.state != self.status.state {
            info!(cluster = %self.place.cluster(), state = status.state.as_str(), reason = status.reason, "now");
        }
        self.status = status;
    }

    /// What is not there yet becomes trouble when it takes long.
    fn impatience(&self, error: String) -> Option<Trouble> {
        let long = self.unsettled.is_some_and(|since| since.elapsed() > pace::PATIENCE);
        let reason = "Taking longer than usual; still trying".to_owned();
        // Not counted: there is nothing to back off from.
        long.then_some(Trouble { reason, error, times: 1 })
    }

    fn next_trouble(&self, reason: &str, error: String) -> Trouble {
        let times = self.trouble.as_ref().map_or(0, |before| before.times) + 1;
        if times == 1 || self.trouble.as_ref().is_none_or(|before| before.error != error) {
            warn!(cluster = %self.place.cluster(), error, "trouble; trying again");
        }
        Trouble { reason: reason.to_owned(), error, times }
    }

    fn lifetime(&self) -> time::Duration {
        time::Duration::seconds(i64::from(self.ground.config.server_certificate_seconds))
    }
}

/// How long an answer of the settled world stays good.
pub(crate) const HEALTH_EVERY: Duration = Duration::from_secs(10);
