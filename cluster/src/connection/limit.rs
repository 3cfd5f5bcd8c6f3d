//! How many client connections a process holds, of whom, and what they share: rates, and memory for requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::pace::{Buckets, Pace};
use crate::access::{Policy, PolicyWatch};
use crate::usage::{PrincipalUsage, Usage};
use crate::wire::FrameBudget;

/// Counts the connections of SC and SPU of one process together, against the limits in the settings.
#[derive(Debug)]
pub struct ConnectionLimit {
    open: Mutex<Open>,
    rates: Arc<Buckets>,
    large_frames: FrameBudget,
}

#[derive(Debug, Default)]
struct Open {
    n_open: u32,
    principals: HashMap<Uuid, Principal>,
    /// Of the settings under which those that may not come again were forgotten last.
    generation: u64,
}

/// A principal with open connections, or that may come again: then what it owes is still known, and dialling anew
/// gets around no limit.
#[derive(Debug, Default)]
struct Principal {
    n_open: u32,
    rates: Arc<Buckets>,
}

/// There is no place for one more connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// [`cluster_settings::Limits::connections`].
    #[error("the cluster has as many connections as it may")]
    Cluster,
    /// [`cluster_settings::Limits::principal_connections`].
    #[error("the principal has as many connections as one may")]
    Principal,
    /// It took so much that its next connection would only wait, and clients that give up and dial again would fill the
    /// cluster's places.
    #[error("the principal owes more than a minute of its rates")]
    Owes,
}

/// What a principal may owe and still connect.
const OWED_AT_MOST: Duration = Duration::from_secs(60);

/// One request of the largest size, and half of one.
const LARGE_FRAME_BYTES: usize = 192 << 20;

impl Default for ConnectionLimit {
    fn default() -> Self {
        let large_frames = FrameBudget::new(LARGE_FRAME_BYTES);
        Self { open: Mutex::default(), rates: Arc::default(), large_frames }
    }
}

impl ConnectionLimit {
    /// The memory that large requests of all connections share.
    pub(super) fn large_frames(&self) -> FrameBudget {
        self.large_frames.clone()
    }

    /// A place for one more connection of this principal, if the cluster and the principal have fewer than they may. It
    /// is given back when dropped.
    pub fn admit(
        self: &Arc<Self>,
        policy: &Policy,
        principal: Uuid,
        usage: &Arc<Usage>,
    ) -> Result<Admission, Full> {
        let limits = &policy.settings.limits;
        let mut open = self.open();
        open.forget(policy, usage);
        if open.n_open >= limits.connections {
            return Err(Full::Cluster);
        }
        let known = open.principals.entry(principal).or_default();
        if limits.principal_connections.is_some_and(|limit| known.n_open >= limit) {
            return Err(Full::Principal);
        }
        if known.rates.owed(&limits.principal_rates, Instant::now()) > OWED_AT_MOST {
            return Err(Full::Owes);
        }
        known.n_open += 1;
        let rates = Arc::clone(&known.rates);
        open.n_open += 1;
        usage.connections.add(1);
        let own = usage.principals.of(principal);
        own.connections.add(1);
        Ok(Admission { limit: Arc::clone(self), principal, rates, usage: Arc::clone(usage), own })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Forgets principals that are gone and may not come again, once for each change of the settings. So those that are
    /// kept are bounded by the access list and the open connections.
    fn forget(&mut self, policy: &Policy, usage: &Usage) {
        if self.generation < policy.settings.generation {
            self.generation = policy.settings.generation;
            self.principals.retain(|principal, known| known.n_open > 0 || policy.lists(*principal));
            usage.principals.keep(|principal| self.principals.contains_key(principal));
        }
    }
}

/// One open connection's place.
#[derive(Debug)]
pub struct Admission {
    limit: Arc<ConnectionLimit>,
    principal: Uuid,
    rates: Arc<Buckets>,
    usage: Arc<Usage>,
    own: Arc<PrincipalUsage>,
}

impl Admission {
    /// The connection's part in the rates.
    pub(super) fn pace(&self, policy: PolicyWatch) -> Pace {
        Pace {
            policy,
            cluster: Arc::clone(&self.limit.rates),
            principal: Arc::clone(&self.rates),
            usage: Arc::clone(&self.usage),
            own: Arc::clone(&self.own),
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.limit.open();
        open.n_open -= 1;
        if let Some(known) = open.principals.get_mut(&self.principal) {
            known.n_open -= 1;
        }
        self.own.connections.sub(1);
        self.usage.connections.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::fixture::Cluster;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let cluster = Cluster::new();
        let mut settings = cluster.settings();
        (settings.limits.connections, settings.limits.principal_connections) = (3, Some(2));
        let policy = Policy::build(settings, None).unwrap();
        let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
        let admit = |principal| limit.admit(&policy, principal, &usage);
        let first = admit(cluster.admin).unwrap();
        let _second = admit(cluster.admin).unwrap();
        assert_eq!(admit(cluster.admin).unwrap_err(), Full::Principal);
        let other = admit(cluster.user).unwrap();
        assert_eq!(admit(cluster.user).unwrap_err(), Full::Cluster);
        drop((first, other));
        let _third = admit(cluster.admin).unwrap();
        assert_eq!(admit(cluster.admin).unwrap_err(), Full::Principal);
        let open: HashMap<Uuid, u64> =
            usage.principals.all().iter().map(|(id, own)| (*id, own.connections.get())).collect();
        assert_eq!(open, HashMap::from([(cluster.admin, 2), (cluster.user, 0)]));
        assert_eq!(usage.connections.get(), 2);
    }

    #[tokio::test]
    async fn a_principal_that_owes_more_than_a_minute_gets_no_further_connection() {
        let cluster = Cluster::new();
        let mut settings = cluster.settings();
        settings.limits.principal_rates.requests_per_second = std::num::NonZeroU32::new(1);
        let policy = Arc::new(Policy::build(settings, None).unwrap());
        let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
        let watch = tokio::sync::watch::Sender::new(Some(Arc::clone(&policy)));
        let admit = |principal| limit.admit(&policy, principal, &usage);
        let first = admit(cluster.admin).unwrap();
        let pace = first.pace(watch.subscribe());
        (0..50).for_each(|_| drop(pace.received(1)));
        let second = admit(cluster.admin).unwrap();
        (0..50).for_each(|_| drop(pace.received(1)));
        drop((first, second));
        assert_eq!(admit(cluster.admin).unwrap_err(), Full::Owes, "however few connections there are");
        assert!(admit(cluster.user).is_ok());
    }

    #[test]
    fn a_principal_is_known_while_it_is_there_or_may_come_again() {
        let cluster = Cluster::new();
        let mut settings = cluster.settings();
        let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
        let policy = Policy::build(settings.clone(), None).unwrap();
        let of_admin = limit.admit(&policy, cluster.admin, &usage).unwrap();
        drop(limit.admit(&policy, cluster.user, &usage).unwrap());
        let known = || usage.principals.all().len();
        assert_eq!(known(), 2, "the user is listed");
        settings.access.entries.clear();
        for (there, left) in [(Some(of_admin), 1), (None, 0)] {
            settings.generation += 1;
            let policy = Policy::build(settings.clone(), None).unwrap();
            limit.open().forget(&policy, &usage);
            assert_eq!((known(), limit.open().principals.len()), (left, left));
            drop(there);
        }
    }
}
