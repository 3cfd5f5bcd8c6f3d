//! One authenticated connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::Outbox;
use crate::access::{Action, Credential, On, Policy, PolicyWatch, Refusal};

/// What a service knows of the connection that a request came on.
#[derive(Debug)]
pub struct Session {
    /// Who is there.
    pub credential: Credential,
    /// From where, if the socket or the gateway said.
    pub address: Option<SocketAddr>,
    /// Where streams send their responses.
    pub outbox: Outbox,
    policy: PolicyWatch,
    /// Bits of the actions that open streams keep doing.
    held: AtomicU32,
}

/// Why a live connection has to end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CutReason {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("it may no longer do what its streams do")]
    Right,
    #[error("no settings are in force")]
    NoPolicy,
}

impl Session {
    pub(super) fn new(
        credential: Credential,
        address: Option<SocketAddr>,
        outbox: Outbox,
        policy: PolicyWatch,
    ) -> Self {
        Self { credential, address, outbox, policy, held: AtomicU32::new(0) }
    }

    /// What is in force now.
    pub fn policy(&self) -> Option<Arc<Policy>> {
        self.policy.borrow().clone()
    }

    /// Whether the client may do this now; asked for each request.
    pub fn may(&self, action: Action, on: On<'_>) -> bool {
        self.policy.borrow().as_ref().is_some_and(|policy| policy.permits(&self.credential, action, on))
    }

    /// Changes when what is in force does.
    pub fn policy_changes(&self) -> PolicyWatch {
        self.policy.clone()
    }

    /// Returns when the client may no longer do this.
    pub async fn loses(&self, action: Action, on: On<'_>) {
        let mut policy = self.policy.clone();
        loop {
            // First, so that no change falls between.
            policy.mark_unchanged();
            if !self.may(action, on) {
                return;
            }
            if policy.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says that a stream keeps doing this on the cluster: the connection is cut when the client may no longer. A stream
    /// about one topic ends by itself instead ([`Self::loses`]), since others share its connection.
    pub fn hold(&self, action: Action) {
        self.held.fetch_or(action.bit(), Ordering::Relaxed);
    }

    /// Whether the connection may go on under the policy in force.
    pub(super) fn recheck(&self) -> Result<(), CutReason> {
        let policy = self.policy().ok_or(CutReason::NoPolicy)?;
        let grant = policy.grant_of(&self.credential, SystemTime::now())?;
        let held = self.held.load(Ordering::Relaxed);
        let lost = |action: &Action| held & action.bit() != 0 && !grant.allows(*action, On::Cluster);
        if Action::ALL.iter().any(lost) { Err(CutReason::Right) } else { Ok(()) }
    }
}
