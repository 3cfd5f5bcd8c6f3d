//! What to do next: a pure function of what is wanted and what is.

use std::collections::BTreeMap;

use crate::control::Health;
use crate::process::{Role, RoleState, Supervision, roles_for};
use crate::store::Wanted;

/// How far a cluster's server certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// None, and none asked for.
    None,
    /// Asked for; there is none to use until the answer comes.
    Asked,
    /// There is one.
    Held,
    /// There is one, past two thirds of its life.
    Old,
    /// There is an old one, and its successor is asked for.
    Renewing,
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// SPUs that the cluster gets: what is wanted, and never fewer than it had.
    pub spus: u8,
    /// The folder and the configuration files are there for that many.
    pub prepared: bool,
    /// The cluster's processes.
    pub processes: Supervision,
    /// Its server certificate.
    pub identity: Identity,
    /// The wanted generation whose settings the cluster took, with the certificate in use.
    pub in_force: Option<i64>,
    /// What it says about itself.
    pub health: Option<Health>,
    /// Where the gateway is told to find it.
    pub backends: BTreeMap<String, String>,
    /// Where it would have to find it.
    pub sockets: BTreeMap<String, String>,
    /// A client's hello came through the gateway to this cluster.
    pub proven: bool,
}

impl Observed {
    /// Whether the cluster has a certificate to show.
    pub fn identity_held(&self) -> bool {
        !matches!(self.identity, Identity::None | Identity::Asked)
    }

    /// The process id of the SC, when it runs.
    pub fn sc(&self) -> Option<i32> {
        let state = self.processes.roles.get(&Role::Node).or_else(|| self.processes.roles.get(&Role::Sc));
        match state {
            Some(RoleState::Up { pid, .. }) => Some(*pid),
            _ => None,
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the folder and the configuration files.
    Prepare,
    /// Keep exactly these processes running.
    Supervise(Vec<Role>),
    /// Tell the gateway where the servers are; nowhere, if empty.
    Publish(BTreeMap<String, String>),
    /// Make a key and ask for its certificate.
    Ask,
    /// Give the cluster its settings.
    Push,
    /// Prove that a client gets through.
    Probe,
    /// Remove everything for good.
    Purge,
}

/// The actions that bring what is nearer to what is wanted, in the order in which they are to be done. None
/// when there is nothing to do, or nothing until something else happens.
pub fn plan(wanted: &Wanted, observed: &Observed) -> Vec<Action> {
    if wanted.rests() { plan_rest(wanted, observed) } else { plan_life(wanted, observed) }
}

/// Of a cluster that is paused or deleted: nobody is led to it and nothing runs.
fn plan_rest(wanted: &Wanted, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    if !observed.backends.is_empty() {
        actions.push(Action::Publish(BTreeMap::new()));
    }
    if !observed.processes.roles.is_empty() {
        actions.push(Action::Supervise(Vec::new()));
    }
    // Data goes only when nothing leads to it and nothing writes to it any more.
    if actions.is_empty() && observed.processes.keeps(&[]) && wanted.deleted && wanted.purge_due {
        actions.push(Action::Purge);
    }
    actions
}

fn plan_life(wanted: &Wanted, observed: &Observed) -> Vec<Action> {
    let mut actions = Vec::new();
    let roles = roles_for(observed.spus);
    if !observed.prepared {
        actions.push(Action::Prepare);
    }
    // Before all that needs the database: a new process starts while the signer works.
    if observed.processes.roles.keys().copied().ne(in_order(&roles)) {
        actions.push(Action::Supervise(roles));
    }
    if matches!(observed.identity, Identity::None | Identity::Old) {
        actions.push(Action::Ask);
    }
    // Early, so that the gateway knows the way by the time somebody is there to answer.
    if observed.backends != observed.sockets {
        actions.push(Action::Publish(observed.sockets.clone()));
    }
    let reachable = observed.sc().is_some() && observed.identity_held();
    if reachable && observed.in_force != Some(wanted.generation) {
        actions.push(Action::Push);
    }
    let healthy = observed.health.as_ref().is_some_and(|health| health.ready);
    if reachable && healthy && !observed.proven {
        actions.push(Action::Probe);
    }
    actions
}

fn in_order(roles: &[Role]) -> std::collections::btree_set::IntoIter<Role> {
    roles.iter().copied().collect::<std::collections::BTreeSet<_>>().into_iter()
}

#[cfg(test)]
pub(crate) mod tests;
