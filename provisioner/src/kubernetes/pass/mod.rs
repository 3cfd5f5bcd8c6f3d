//! One pass over one cluster: reads what is, [plans](super::plan), applies, and records. A pass never waits for
//! anything slow: where something is not there yet, it ends, and the next one looks again. Every step may be
//! cut off anywhere and be done again.

mod apply;
mod keys;
mod look;
mod pace;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::api::{ApiError, Server};
use super::facts::gather;
use super::fleet::{Fleet, View};
use super::metrics::Counters;
use super::mind::Mind;
use super::names;
use super::plan::{Facts, Step, plan};
use super::status::describe;
use crate::config::Config;
use crate::status::{State, Trouble};
use crate::step::StepError;
use crate::store::{self, Lease, StoreError};

/// What all passes share.
pub struct Ground {
    /// The configuration.
    pub config: Config,
    /// The database.
    pub pool: PgPool,
    /// The API server.
    pub server: Server,
    /// All clusters.
    pub fleet: Arc<Fleet>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error {
            ApiError::Away(_) => Self::Away(text),
            // A new binding takes a moment to be known everywhere, and a namespace may be on its way out.
            ApiError::Forbidden(_) | ApiError::Conflict(_) | ApiError::Absent(_) => Self::NotYet(text),
            ApiError::Invalid(_) | ApiError::Other(_) => Self::Wrong {
                reason: "The region's machines do not take its servers; the operator can see why",
                error: text,
            },
        }
    }
}

/// How a pass ended.
pub struct End {
    /// What is remembered; nothing when the cluster is not this provisioner's any more.
    pub mind: Option<Box<Mind>>,
    /// When to look again, if nothing happens before.
    pub next: Instant,
}

struct Pass<'a> {
    ground: &'a Ground,
    cluster: Uuid,
    lease: Lease,
    mind: &'a mut Mind,
}

/// Runs one pass.
pub async fn run(ground: &Ground, cluster: Uuid, lease: Lease, mut mind: Box<Mind>) -> End {
    let started = Instant::now();
    let mut pass = Pass { ground, cluster, lease, mind: &mut mind };
    let result = pass.whole(started).await;
    let trouble = mind.trouble.as_ref().is_some_and(|trouble| trouble.times > 0);
    ground.counters.pass(started.elapsed(), trouble);
    match result {
        Ok(pause) => End { mind: Some(mind), next: Instant::now() + pace::spread(pause, cluster) },
        Err(error) => {
            info!(%cluster, %error, "no longer this provisioner's cluster");
            End { mind: None, next: Instant::now() }
        }
    }
}

impl Pass<'_> {
    /// Works, describes, records; says how long until the next pass. Errors are only those that end the work.
    async fn whole(&mut self, started: Instant) -> Result<Duration, StepError> {
        let (nothing_left, trouble, away) = match self.work().await {
            Ok(nothing_left) => (nothing_left, None, false),
            Err(StepError::NotYet(error)) => (false, self.impatience(error), false),
            Err(StepError::Wrong { reason, error }) => (false, Some(self.next_trouble(reason, error)), false),
            Err(StepError::Away(error)) => {
                tracing::debug!(cluster = %self.cluster, error, "later");
                (false, None, true)
            }
            Err(end @ (StepError::Fenced | StepError::Gone)) => return Err(end),
        };
        self.mind.trouble = trouble;
        let Some(mut view) = self.ground.fleet.view(self.cluster) else { return Err(StepError::Gone) };
        self.refresh_purge(&mut view);
        let facts = self.gather(&view);
        let settled = nothing_left
            && !self.mind.shrunk
            && pace::is_settled(&view.row.wanted, &facts, &self.mind.status);
        if !away {
            self.record(&view, &facts).await?;
        }
        self.mind.unsettled = if settled { None } else { self.mind.unsettled.or(Some(started)) };
        let until_purge = view.row.purge_after.map(|end| end - OffsetDateTime::now_utc());
        Ok(pace::pause(&pace::Situation {
            away,
            settled,
            troubles: self.mind.trouble.as_ref().map_or(0, |trouble| trouble.times),
            idle: self.mind.idle,
            was_ready: self.mind.status.ready,
            until_purge: until_purge.map(|left| left.try_into().unwrap_or(Duration::ZERO)),
            health_every: Duration::from_secs(self.ground.fleet.site().config.health_seconds),
        }))
    }

    /// Applies plans until one is empty. The bound keeps a plan that never gets empty from spinning.
    async fn work(&mut self) -> Result<bool, StepError> {
        for _ in 0..12 {
            let Some(mut view) = self.ground.fleet.view(self.cluster) else { return Err(StepError::Gone) };
            self.refresh_purge(&mut view);
            self.note_heard(&view);
            self.look_again_when_due(&view).await?;
            self.look(&view).await?;
            let Some(mut view) = self.ground.fleet.view(self.cluster) else { return Err(StepError::Gone) };
            self.refresh_purge(&mut view);
            let mut facts = self.gather(&view);
            let rests = view.row.wanted.rests();
            if facts.wants_roll() && !rests {
                facts.may_roll = self.ground.fleet.enter_roll(self.cluster);
            } else if facts.rolled() || rests {
                self.ground.fleet.leave_roll(self.cluster);
            }
            let steps = plan(&view.row.wanted, &facts);
            if steps.is_empty() {
                return Ok(true);
            }
            for step in steps {
                self.apply(step, &view).await?;
                self.mind.idle = 0;
            }
        }
        Ok(false)
    }

    /// A pass after something was heard is no idle one.
    fn note_heard(&mut self, view: &View) {
        let heard = std::mem::replace(&mut self.mind.heard, view.heard) != view.heard;
        self.mind.idle = if heard { 0 } else { self.mind.idle.saturating_add(1) };
    }

    /// The row says when its data may go; the database says again whether that is now.
    fn refresh_purge(&self, view: &mut View) {
        let due = view.row.purge_after.is_some_and(|end| end <= OffsetDateTime::now_utc());
        view.row.wanted.purge_due = view.row.wanted.deleted && due;
    }

    fn gather(&mut self, view: &View) -> Facts {
        let lifetime = self.lifetime();
        gather(self.ground.fleet.site(), view, self.mind, lifetime, OffsetDateTime::now_utc())
    }

    async fn apply(&mut self, step: Step, view: &View) -> Result<(), StepError> {
        let pool = &self.ground.pool;
        match step {
            Step::Apply(objects) => self.apply_all(objects, view).await,
            Step::Remove(objects) => self.remove_all(objects, view).await,
            Step::Ask(uses) => self.ask(&uses, view).await,
            Step::Collect => self.collect(view).await,
            Step::Forget(secrets) => self.forget(secrets).await,
            Step::Publish(backends) => {
                store::publish_backends(pool, self.lease, self.cluster, &backends).await?;
                self.mind.backends = backends.into_iter().collect();
                Ok(())
            }
            Step::Push => self.push(view).await,
            Step::Probe => self.probe(view).await,
            Step::Shrink(spus) => {
                info!(cluster = %self.cluster, spus, "the others hold nothing any more");
                self.mind.shrunk = true;
                self.ground.fleet.decide_shrunk(self.cluster, spus);
                Ok(())
            }
            Step::Release(claims) => self.release(claims, view).await,
            Step::EndNamespace => self.end_namespace().await,
            Step::Purge => self.purge().await,
        }
    }

    /// Before every write to the API server, which knows nothing of leases.
    fn still_ours(&self) -> Result<(), StepError> {
        if self.ground.fleet.holds(self.cluster, self.lease) { Ok(()) } else { Err(StepError::Fenced) }
    }

    async fn record(&mut self, view: &View, facts: &Facts) -> Result<(), StepError> {
        let status = describe(view, facts, &self.mind.status, self.mind.trouble.as_ref());
        if status == self.mind.status {
            return Ok(());
        }
        match store::record_status(&self.ground.pool, self.lease, self.cluster, &status).await {
            Ok(()) => {}
            Err(StoreError::Fenced) => return Err(StepError::Fenced),
            Err(error) => {
                warn!(cluster = %self.cluster, %error, "cannot record the status");
                return Ok(());
            }
        }
        if status.state != self.mind.status.state {
            info!(cluster = %self.cluster, state = status.state.as_str(), reason = status.reason, "now");
        }
        if status.state == State::Running && !self.mind.status.ready {
            self.ground.counters.running_after(self.mind.since.elapsed());
        }
        self.mind.status = status;
        Ok(())
    }

    /// What is not there yet becomes trouble when it takes long.
    fn impatience(&self, error: String) -> Option<Trouble> {
        let long = self.mind.unsettled.is_some_and(|since| since.elapsed() > pace::PATIENCE);
        let reason = "Taking longer than usual; still trying".to_owned();
        // Not counted: there is nothing to back off from.
        long.then_some(Trouble { reason, error, times: 1 })
    }

    fn next_trouble(&self, reason: &str, error: String) -> Trouble {
        let times = self.mind.trouble.as_ref().map_or(0, |before| before.times) + 1;
        if times == 1 || self.mind.trouble.as_ref().is_none_or(|before| before.error != error) {
            warn!(cluster = %self.cluster, error, "trouble; trying again");
        }
        Trouble { reason: reason.to_owned(), error, times }
    }

    fn lifetime(&self) -> time::Duration {
        time::Duration::seconds(i64::from(self.ground.config.server_certificate_seconds))
    }

    fn namespace(&self) -> String {
        names::namespace(self.cluster)
    }
}
