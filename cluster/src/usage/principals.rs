//! What each principal does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::{Counter, Throttled};

/// One principal's counters, its connections to SC and SPU of one process together.
#[derive(Debug, Default)]
pub struct PrincipalUsage {
    /// Connections open now.
    pub connections: Counter,
    /// Bytes of request frames read from it.
    pub bytes_in: Counter,
    /// Bytes of response frames written to it.
    pub bytes_out: Counter,
    /// Requests read from it.
    pub requests: Counter,
    /// How long its connections were held back, whoever's rate it was.
    pub throttled: Throttled,
}

/// Every principal's counters. They begin with its first connection, and are kept while it may come again, so that no
/// total goes back.
#[derive(Debug, Default)]
pub struct Principals(Mutex<BTreeMap<Uuid, Arc<PrincipalUsage>>>);

impl Principals {
    /// The counters of one.
    pub fn of(&self, principal: Uuid) -> Arc<PrincipalUsage> {
        Arc::clone(self.lock().entry(principal).or_default())
    }

    /// Forgets all but these.
    pub fn keep(&self, these: impl Fn(&Uuid) -> bool) {
        self.lock().retain(|principal, _| these(principal));
    }

    /// All, in the order of their ids.
    pub fn all(&self) -> Vec<(Uuid, Arc<PrincipalUsage>)> {
        self.lock().iter().map(|(principal, usage)| (*principal, Arc::clone(usage))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<PrincipalUsage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
