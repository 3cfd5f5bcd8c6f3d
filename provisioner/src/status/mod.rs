//! What a tenant reads about a cluster: a pure description of what is wanted and what is.

use crate::plan::{Identity, Observed};
use crate::process::{RoleState, Supervision};
use crate::store::Wanted;

/// Deaths in a row after which a cluster is called failed; it is started again all the same.
const FAILED_AFTER: u32 = 4;

/// On one machine every SPU shares the one disk, so an SPU less would gain nothing and cost a move of its data.
const FEWER: &str = "It keeps the SPUs that it has: on one machine their number only grows";

/// `cluster_status.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On the way to its first client.
    Creating,
    /// A client can use it.
    Running,
    /// Usable in part, or coming back.
    Degraded,
    /// Does not come up.
    Failed,
    /// On the way to rest.
    Pausing,
    /// At rest; data, certificates and access are kept.
    Paused,
    /// On the way out.
    Deleting,
    /// Stopped; the data is kept for the time of grace.
    Deleted,
}

impl State {
    const ALL: [(State, &'static str); 8] = [
        (State::Creating, "creating"),
        (State::Running, "running"),
        (State::Degraded, "degraded"),
        (State::Failed, "failed"),
        (State::Pausing, "pausing"),
        (State::Paused, "paused"),
        (State::Deleting, "deleting"),
        (State::Deleted, "deleted"),
    ];

    /// As the database writes it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(state, _)| *state == self).map_or("", |(_, text)| text)
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == text).map(|(state, _)| state)
    }
}

/// A row of `cluster_status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// For the tenant: what is being done, or what is wrong.
    pub reason: String,
    /// The wanted generation that is in force.
    pub observed_generation: i64,
    /// SPUs that are up.
    pub spus_ready: i32,
    /// Partitions, the system topic not counted.
    pub partitions: i32,
    /// Bytes of log.
    pub storage_bytes: i64,
    /// Times that a process was started again.
    pub restarts: i32,
    /// For the operator.
    pub last_error: Option<String>,
    /// A client could use it once.
    pub ready: bool,
}

impl Status {
    /// A cluster of which nothing is done yet.
    pub fn new() -> Self {
        Self {
            state: State::Creating,
            reason: "Preparing its folder and keys".into(),
            observed_generation: 0,
            spus_ready: 0,
            partitions: 0,
            storage_bytes: 0,
            restarts: 0,
            last_error: None,
            ready: false,
        }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

/// Describes a cluster. `trouble` is what went wrong in this pass, and how often in a row something did.
pub fn describe(wanted: &Wanted, observed: &Observed, before: &Status, trouble: Option<&Trouble>) -> Status {
    let (state, reason) = if wanted.rests() {
        let (state, reason) =
            at_rest(wanted.deleted, observed.processes.keeps(&[]) && observed.backends.is_empty());
        (state, reason.into())
    } else {
        describe_life(wanted, observed, before.ready, trouble)
    };
    let health = observed.health.as_ref().filter(|_| !wanted.rests());
    let in_force = if state == State::Paused { Some(wanted.generation) } else { observed.in_force };
    let running = state == State::Running;
    Status {
        state,
        reason,
        observed_generation: in_force.unwrap_or(before.observed_generation),
        spus_ready: health.map_or(0, |health| clamp(health.online())),
        partitions: health.map_or(before.partitions, |health| clamp(health.partitions)),
        storage_bytes: health.map_or(before.storage_bytes, |health| clamp(health.storage_bytes)),
        restarts: clamp::<_, i32>(observed.processes.restarts).max(before.restarts),
        last_error: trouble
            .map(|trouble| trouble.error.clone())
            .or_else(|| observed.processes.last_end.clone())
            .or_else(|| before.last_error.clone()),
        ready: before.ready || running,
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For the tenant.
    pub reason: String,
    /// For the operator.
    pub error: String,
    /// Passes in a row.
    pub times: u32,
}

/// What is said of a cluster that is to rest, deleted or paused, in either runtime.
pub fn at_rest(deleted: bool, stopped: bool) -> (State, &'static str) {
    match (deleted, stopped) {
        (true, true) => {
            (State::Deleted, "Deleted. Its data is kept for the time of grace, and it can be brought back.")
        }
        (true, false) => (State::Deleting, "Stopping its servers"),
        (false, true) => {
            (State::Paused, "Paused. Its data, certificates and access are kept, and it can be resumed.")
        }
        (false, false) => (State::Pausing, "Stopping its servers"),
    }
}

fn describe_life(
    wanted: &Wanted,
    observed: &Observed,
    was_ready: bool,
    trouble: Option<&Trouble>,
) -> (State, String) {
    let usable = observed.health.as_ref().filter(|health| health.ready);
    if let Some(health) = usable.filter(|_| observed.proven && observed.identity_held()) {
        let (online, all) = (health.online(), observed.spus);
        if online >= usize::from(all) {
            let reason = if observed.spus > wanted.spus { FEWER } else { "" };
            return (State::Running, reason.into());
        }
        return (State::Degraded, format!("{online} of {all} SPUs are up; the others are being started"));
    }
    if let Some(reason) = keeps_dying(&observed.processes) {
        return (State::Failed, reason);
    }
    if let Some(trouble) = trouble {
        let state = match (was_ready, trouble.times >= FAILED_AFTER) {
            (true, _) => State::Degraded,
            (false, true) => State::Failed,
            (false, false) => State::Creating,
        };
        return (state, trouble.reason.clone());
    }
    let reason = step(observed);
    if was_ready { (State::Degraded, reason) } else { (State::Creating, reason) }
}

fn keeps_dying(processes: &Supervision) -> Option<String> {
    let dying = |state: &RoleState| match state {
        RoleState::Up { failures, .. } | RoleState::Down { failures, .. } => *failures >= FAILED_AFTER,
    };
    let (role, _) = processes.roles.iter().find(|(_, state)| dying(state))?;
    Some(format!(
        "Its server {role} keeps ending after its start. It is started again, and the operator can see why."
    ))
}

/// What is being waited for.
fn step(observed: &Observed) -> String {
    let text = match observed.identity {
        _ if !observed.prepared => "Preparing its folder and keys",
        Identity::None | Identity::Asked => "Waiting for its certificates",
        _ if observed.in_force.is_none() => "Starting its servers",
        _ => match &observed.health {
            Some(health) if health.ready => "Waiting until it can be reached through the gateway",
            Some(health) if !health.reason.is_empty() => {
                return format!("Waiting until it can be used: {}", health.reason);
            }
            _ => "Starting its servers",
        },
    };
    text.into()
}

pub(crate) fn clamp<From, To: TryFrom<From> + Max>(value: From) -> To {
    To::try_from(value).unwrap_or(To::MAX)
}

/// The largest value of the database's integers.
pub(crate) trait Max {
    const MAX: Self;
}

impl Max for i32 {
    const MAX: Self = i32::MAX;
}

impl Max for i64 {
    const MAX: Self = i64::MAX;
}

#[cfg(test)]
mod tests;
