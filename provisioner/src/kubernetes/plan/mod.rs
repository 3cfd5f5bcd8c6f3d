//! What to do next for a cluster of pods: a pure function of what is wanted and what is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::live::NamespaceFacts;
use super::objects::secrets::Use;
use super::objects::{Kind, Ref};
use crate::control::Health;
use crate::store::Wanted;

/// A StatefulSet, as far as the order of changes goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetState {
    /// It.
    pub object: Ref,
    /// It is as it is wanted.
    pub matched: bool,
    /// Pods that it has.
    pub pods: i32,
    /// They are all there, of its newest template, and ready.
    pub whole: bool,
    /// No pod is there, and none is to be.
    pub empty: bool,
}

/// How far a cluster's identities are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities {
    /// The Secrets were looked at.
    pub known: bool,
    /// Those that there are none of, or only old ones, and that nobody asks for.
    pub wanting: Vec<Use>,
    /// Some are asked for.
    pub asked: bool,
    /// All that are asked for are answered.
    pub answered: bool,
    /// There is one of each use.
    pub complete: bool,
    /// Secrets that were followed by others.
    pub outdated: Vec<(Use, Arc<str>)>,
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The namespace.
    pub namespace: NamespaceFacts,
    /// Objects that are not as they are wanted, StatefulSets left out; in the order of writing.
    pub unmatched: Vec<Ref>,
    /// Live objects of ours that the cluster does not have.
    pub surplus: Vec<Ref>,
    /// Volumes of SPUs that are no more.
    pub empty_claims: Vec<String>,
    /// Volumes that are still there.
    pub volumes: usize,
    /// Pods count against the quota.
    pub quota_in_force: bool,
    /// The StatefulSets that there should be.
    pub sets: Vec<SetState>,
    /// Some of them has more pods than it should.
    pub shrinking: bool,
    /// No server runs, and none starts.
    pub at_rest: bool,
    /// Servers that run may be renewed now: not too many other clusters have theirs renewed.
    pub may_roll: bool,
    /// The identities.
    pub identities: Identities,
    /// Where the gateway would have to find the servers; `None` until every address is known.
    pub addresses: Option<BTreeMap<String, String>>,
    /// Where it is told to find them.
    pub backends: BTreeMap<String, String>,
    /// SPUs that have objects.
    pub spus: u8,
    /// The SC's process runs.
    pub sc_up: bool,
    /// The cluster took the settings that are wanted now.
    pub in_force: bool,
    /// What it says about itself.
    pub health: Option<Health>,
    /// SPUs that are to go hold nothing any more.
    pub drained: bool,
    /// A client's hello came through the gateway to this cluster.
    pub proven: bool,
}

impl Facts {
    /// Servers that run are to be renewed.
    pub fn wants_roll(&self) -> bool {
        self.sets.iter().any(|set| set.pods > 0 && !set.matched)
    }

    /// All servers are as they are wanted, and there.
    pub fn rolled(&self) -> bool {
        self.sets.iter().all(|set| set.matched && (set.whole || set.empty))
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write these objects; they do not need each other.
    Apply(Vec<Ref>),
    /// Delete these objects.
    Remove(Vec<Ref>),
    /// Make keys and ask for their certificates.
    Ask(Vec<Use>),
    /// Keep the certificates that came.
    Collect,
    /// Delete these Secrets.
    Forget(Vec<(Use, Arc<str>)>),
    /// Tell the gateway where the servers are; nowhere, if empty.
    Publish(BTreeMap<String, String>),
    /// Give the cluster its settings.
    Push,
    /// Prove that a client gets through.
    Probe,
    /// The cluster may have this many SPUs and no more.
    Shrink(u8),
    /// Delete the volumes of SPUs that are no more.
    Release(Vec<String>),
    /// Delete the namespace with all that is in it.
    EndNamespace,
    /// Prove that nothing is left, and remove the row.
    Purge,
}

/// The steps that bring what is nearer to what is wanted, in the order in which they are to be done. None when
/// there is nothing to do, or nothing until something else happens.
pub fn plan(wanted: &Wanted, facts: &Facts) -> Vec<Step> {
    if wanted.deleted && wanted.purge_due {
        plan_end(facts)
    } else if wanted.rests() {
        plan_rest(facts)
    } else {
        plan_life(wanted, facts)
    }
}

fn plan_end(facts: &Facts) -> Vec<Step> {
    if !facts.backends.is_empty() {
        return vec![Step::Publish(BTreeMap::new())];
    }
    match facts.namespace {
        NamespaceFacts::Present => vec![Step::EndNamespace],
        NamespaceFacts::Absent if facts.volumes == 0 => vec![Step::Purge],
        // Both are heard of.
        NamespaceFacts::Ending | NamespaceFacts::Absent => Vec::new(),
    }
}

fn plan_rest(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    if !facts.backends.is_empty() {
        steps.push(Step::Publish(BTreeMap::new()));
    }
    if facts.namespace != NamespaceFacts::Present {
        return steps;
    }
    steps.extend(plan_objects(facts));
    let sets: Vec<Ref> = unmatched_sets(facts).map(|set| set.object.clone()).collect();
    if !sets.is_empty() {
        steps.push(Step::Apply(sets));
    }
    steps
}

/// Namespace and binding go first, one after the other: nothing can be written without them.
fn plan_objects(facts: &Facts) -> Vec<Step> {
    let first =
        facts.unmatched.iter().find(|object| matches!(object.kind, Kind::Namespace | Kind::RoleBinding));
    if let Some(first) = first {
        return vec![Step::Apply(vec![first.clone()])];
    }
    let mut steps = Vec::new();
    if !facts.unmatched.is_empty() {
        steps.push(Step::Apply(facts.unmatched.clone()));
    }
    if !facts.surplus.is_empty() {
        steps.push(Step::Remove(facts.surplus.clone()));
    }
    steps
}

fn plan_life(wanted: &Wanted, facts: &Facts) -> Vec<Step> {
    if facts.namespace == NamespaceFacts::Ending {
        return Vec::new();
    }
    let needs_first = facts.unmatched.iter().any(|o| matches!(o.kind, Kind::Namespace | Kind::RoleBinding));
    let mut steps = Vec::new();
    if !needs_first {
        // The signer works while the objects are written.
        if facts.identities.known && !facts.identities.wanting.is_empty() {
            steps.push(Step::Ask(facts.identities.wanting.clone()));
        }
        if facts.identities.answered {
            steps.push(Step::Collect);
        }
    }
    steps.extend(plan_objects(facts));
    if needs_first {
        return steps;
    }
    // An SPU goes when the others know that it does.
    if !facts.shrinking || facts.in_force {
        steps.extend(next_sets(facts));
    }
    if let Some(addresses) = facts.addresses.as_ref().filter(|addresses| **addresses != facts.backends) {
        steps.push(Step::Publish(addresses.clone()));
    }
    steps.extend(plan_settings(wanted, facts));
    let outdated: Vec<_> =
        facts.identities.outdated.iter().filter(|(purpose, _)| is_spare(facts, *purpose)).cloned().collect();
    if !outdated.is_empty() {
        steps.push(Step::Forget(outdated));
    }
    if !facts.empty_claims.is_empty() {
        steps.push(Step::Release(facts.empty_claims.clone()));
    }
    steps
}

fn plan_settings(wanted: &Wanted, facts: &Facts) -> Option<Step> {
    if !facts.sc_up || !facts.identities.complete {
        return None;
    }
    // Who does not answer takes no settings either.
    if !facts.in_force {
        return facts.health.is_some().then_some(Step::Push);
    }
    if facts.spus > wanted.spus && facts.drained {
        return Some(Step::Shrink(wanted.spus));
    }
    let healthy = facts.health.as_ref().is_some_and(|health| health.ready);
    (healthy && !facts.proven).then_some(Step::Probe)
}

/// Whether nobody uses the older identities of a use any more.
fn is_spare(facts: &Facts, purpose: Use) -> bool {
    match purpose {
        Use::Server => facts.in_force,
        // A pod that starts now mounts what its own template names.
        Use::Internal => facts.rolled(),
        Use::Control | Use::Request => true,
    }
}

fn unmatched_sets(facts: &Facts) -> impl Iterator<Item = &SetState> {
    facts.sets.iter().filter(|set| !set.matched)
}

/// The StatefulSets to write now. Those without pods at once; of the others one, when every one that was written
/// before is whole again: so one pod of a cluster is away at a time, over all zones.
fn next_sets(facts: &Facts) -> Option<Step> {
    if !facts.quota_in_force {
        return None;
    }
    let mut now: Vec<Ref> =
        unmatched_sets(facts).filter(|set| set.pods == 0).map(|set| set.object.clone()).collect();
    let under_way = facts.sets.iter().any(|set| set.matched && !set.whole && !set.empty);
    if now.is_empty() && !under_way && facts.may_roll {
        now.extend(unmatched_sets(facts).next().map(|set| set.object.clone()));
    }
    (!now.is_empty()).then_some(Step::Apply(now))
}

#[cfg(test)]
pub(crate) mod tests;
