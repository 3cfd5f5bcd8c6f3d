//! What a tenant reads about a cluster of pods: a pure description of what is wanted and what is.

use super::fleet::View;
use super::live::{Live, NamespaceFacts, PodTrouble};
use super::plan::Facts;
use crate::status::{State, Status, Trouble, at_rest, clamp};
use crate::store::Wanted;

/// Troubles in a row after which a new cluster is called failed; it is tried again all the same.
const FAILED_AFTER: u32 = 4;

/// Describes a cluster.
pub fn describe(view: &View, facts: &Facts, before: &Status, trouble: Option<&Trouble>) -> Status {
    let wanted = &view.row.wanted;
    let rests = wanted.rests();
    let (state, reason) = if rests {
        describe_rest(wanted, facts, trouble)
    } else {
        describe_life(view, facts, before.ready, trouble)
    };
    let health = facts.health.as_ref().filter(|_| !rests);
    let restarts: i32 = view.live.pods().map(|(_, pod)| pod.restarts).sum();
    Status {
        state,
        reason,
        observed_generation: if facts.in_force || (rests && facts.at_rest) {
            wanted.generation
        } else {
            before.observed_generation
        },
        spus_ready: health.map_or(0, |health| clamp(health.online())),
        partitions: health.map_or(before.partitions, |health| clamp(health.partitions)),
        storage_bytes: health.map_or(before.storage_bytes, |health| clamp(health.storage_bytes)),
        restarts: restarts.max(before.restarts),
        last_error: trouble
            .map(|trouble| trouble.error.clone())
            .or_else(|| pod_trouble(&view.live).map(|(pod, _, words)| format!("{pod}: {words}")))
            .or_else(|| before.last_error.clone()),
        ready: before.ready || state == State::Running,
    }
}

fn describe_rest(wanted: &Wanted, facts: &Facts, trouble: Option<&Trouble>) -> (State, String) {
    let stopped = facts.at_rest && facts.backends.is_empty();
    let (state, reason) = match wanted.deleted && wanted.purge_due {
        true => (State::Deleting, "Removing its data"),
        false => at_rest(wanted.deleted, stopped),
    };
    match trouble.filter(|_| !stopped || wanted.purge_due) {
        Some(trouble) => (state, trouble.reason.clone()),
        None => (state, reason.into()),
    }
}

fn describe_life(view: &View, facts: &Facts, was_ready: bool, trouble: Option<&Trouble>) -> (State, String) {
    let usable = facts.health.as_ref().filter(|health| health.ready);
    if let Some(health) = usable.filter(|_| facts.proven && facts.identities.complete) {
        let (online, all) = (health.online(), facts.spus);
        if online >= usize::from(all) {
            let change = if was_ready { change_under_way(&view.row.wanted, facts) } else { String::new() };
            return (State::Running, change);
        }
        return (State::Degraded, format!("{online} of {all} SPUs are up; the others are being started"));
    }
    let on_the_way = if was_ready { State::Degraded } else { State::Creating };
    let only_the_sc = || {
        let trouble = view.live.pod("sc-0").is_some_and(|pod| pod.trouble.is_some());
        let mut others = view.live.pods().filter(|(name, _)| *name != "sc-0").peekable();
        !trouble && others.peek().is_some() && others.all(|(_, pod)| pod.ready && !pod.ending)
    };
    if was_ready && facts.identities.complete && facts.health.is_none() && only_the_sc() {
        let reason = "Its SC is being started again; producing and consuming go on meanwhile";
        return (State::Degraded, reason.into());
    }
    if let Some((pod, trouble, _)) = pod_trouble(&view.live) {
        return describe_pod(pod, trouble, on_the_way);
    }
    if let Some(trouble) = trouble {
        let failed = !was_ready && trouble.times >= FAILED_AFTER;
        return (if failed { State::Failed } else { on_the_way }, trouble.reason.clone());
    }
    (on_the_way, step(view, facts))
}

/// What is still being done for a cluster that can be used.
fn change_under_way(wanted: &Wanted, facts: &Facts) -> String {
    if facts.spus > wanted.spus {
        return removal(wanted.spus, facts);
    }
    if facts.sets.iter().any(|set| !set.matched || !(set.whole || set.empty)) {
        return "Its servers are being renewed, one at a time".into();
    }
    String::new()
}

/// What the removal of SPUs waits for. Nothing moves their partitions, so the tenant has to know which.
fn removal(keep: u8, facts: &Facts) -> String {
    let first = crate::process::spu_id(keep);
    let spus = facts.health.iter().flat_map(|health| &health.spus);
    let holding: Vec<String> = spus
        .filter(|spu| spu.id >= first)
        .filter_map(|spu| Some((spu, spu.replicas.filter(|held| *held > 0)?)))
        .map(|(spu, held)| format!("{} ({held})", spu.name))
        .collect();
    if holding.is_empty() {
        return "SPUs that hold nothing are being removed".into();
    }
    format!(
        "SPUs that are to go still hold partitions: {}. They go once their topics are deleted; new topics are not \
         placed on them.",
        holding.join(", ")
    )
}

fn describe_pod(pod: &str, trouble: PodTrouble, on_the_way: State) -> (State, String) {
    let operator = "the operator can see why";
    match trouble {
        PodTrouble::Unschedulable => (on_the_way, "Waiting for room: the region's machines are full".into()),
        PodTrouble::Image => {
            (on_the_way, format!("The program of its server {pod} cannot be fetched; {operator}"))
        }
        PodTrouble::Setup => (State::Failed, format!("Its server {pod} cannot be started; {operator}")),
        PodTrouble::Crashing => (
            State::Failed,
            format!("Its server {pod} keeps ending after its start. It is started again, and {operator}."),
        ),
        PodTrouble::OutOfMemory => (
            State::Failed,
            format!("Its server {pod} needs more memory than its plan has. A larger plan may help."),
        ),
    }
}

/// The worst trouble of a pod.
fn pod_trouble(live: &Live) -> Option<(&str, PodTrouble, &str)> {
    let troubles = live.pods().filter_map(|(name, pod)| {
        let (trouble, words) = pod.trouble.as_ref().filter(|_| !pod.ending)?;
        Some((name, *trouble, &**words))
    });
    troubles.max_by_key(|(_, trouble, _)| *trouble)
}

/// What is being waited for.
fn step(view: &View, facts: &Facts) -> String {
    let text = match facts.namespace {
        NamespaceFacts::Ending => "Waiting until its former place is cleared",
        NamespaceFacts::Absent => "Preparing its namespace and keys",
        NamespaceFacts::Present if !facts.identities.complete => "Waiting for its certificates",
        NamespaceFacts::Present if view.live.claims().any(|(.., bound)| !bound) => "Waiting for its volumes",
        NamespaceFacts::Present if !facts.in_force => "Starting its servers",
        NamespaceFacts::Present => match &facts.health {
            Some(health) if health.ready => "Waiting until it can be reached through the gateway",
            Some(health) if !health.reason.is_empty() => {
                return format!("Waiting until it can be used: {}", health.reason);
            }
            _ => "Starting its servers",
        },
    };
    text.into()
}
