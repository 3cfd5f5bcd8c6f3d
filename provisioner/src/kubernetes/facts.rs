//! Gathers the facts on which a plan is made. It asks nobody: what has to be asked is in the mind already.

use std::collections::BTreeMap;
use std::net::IpAddr;

use time::{Duration, OffsetDateTime};

use super::fleet::View;
use super::live::{Live, NamespaceFacts};
use super::mind::{Content, Mind};
use super::names;
use super::objects::secrets::Use;
use super::objects::{self, Kind, Ref, Site};
use super::plan::{Facts, Identities, SetState};
use crate::identity::is_old;

/// Everything that is known about a cluster, put together.
pub fn gather(site: &Site, view: &View, mind: &mut Mind, lifetime: Duration, now: OffsetDateTime) -> Facts {
    let View { row, shape, live, .. } = view;
    let namespace = live.namespace();
    let all = objects::all(site, shape);
    let prints = mind.prints.of(site, shape, &all);
    let states = all.iter().cloned().zip(prints).map(|(object, print)| {
        let matched = *print != 0 && live.is_covered(&object, *print);
        (object, matched)
    });
    let (sets, others): (Vec<_>, Vec<_>) = states.partition(|(object, _)| object.kind == Kind::StatefulSet);
    let mind = &*mind;
    let surplus = |object: &Ref| !all.contains(object) && object.kind != Kind::StatefulSet;
    let wanted_pods: BTreeMap<String, i32> =
        names::sets(shape.spus, &site.config.zones).into_iter().chain([("sc".into(), 1)]).collect();
    let shrinking = |(name, set): (&str, &super::live::SetFacts)| {
        shape.runs && wanted_pods.get(name).is_some_and(|wanted| set.replicas > *wanted)
    };
    Facts {
        namespace,
        unmatched: others.into_iter().filter(|(_, matched)| !matched).map(|(object, _)| object).collect(),
        surplus: if namespace == NamespaceFacts::Present {
            live.refs().filter(surplus).collect()
        } else {
            Vec::new()
        },
        empty_claims: empty_claims(site, view),
        volumes: live.volumes().count(),
        quota_in_force: live.quota_in_force(),
        sets: sets.into_iter().map(|(object, matched)| set_state(live, matched, object)).collect(),
        shrinking: live.sets().any(shrinking),
        at_rest: live.at_rest(),
        may_roll: true,
        identities: identities(mind, lifetime, now),
        addresses: addresses(site, view),
        backends: mind.backends.iter().cloned().collect(),
        spus: shape.spus,
        sc_up: live.pod("sc-0").is_some_and(|pod| pod.started && !pod.ending) && live.address("sc").is_some(),
        in_force: content(view, mind)
            .is_some_and(|content| mind.pushed.as_ref().is_some_and(|pushed| pushed.content == content)),
        health: mind.health.clone(),
        drained: drained(mind, row.wanted.spus),
        proven: mind.proven,
    }
}

/// What the settings have to be made from now.
pub fn content(view: &View, mind: &Mind) -> Option<Content> {
    let wanted = &view.row.wanted;
    Some(Content {
        generation: wanted.generation,
        server: mind.keys.secret(Use::Server)?.clone(),
        spus: view.shape.spus,
        leaving_from: wanted.spus.min(view.shape.spus),
    })
}

fn set_state(live: &Live, matched: bool, object: Ref) -> SetState {
    let facts = live.set(&object.name);
    SetState {
        matched,
        pods: facts.map_or(0, |set| set.existing),
        whole: facts.is_some_and(|set| set.is_whole()),
        empty: facts.is_none_or(|set| set.is_empty()),
        object,
    }
}

fn identities(mind: &Mind, lifetime: Duration, now: OffsetDateTime) -> Identities {
    let keys = &mind.keys;
    let asked = keys.request.as_ref();
    let good = |purpose: &Use| keys.held(*purpose).is_some_and(|held| !is_old(held.not_after, lifetime, now));
    Identities {
        known: keys.looked.is_some(),
        // One request at a time: a crash leaves one Secret with new keys, and no key is asked for twice.
        wanting: match asked {
            Some(_) => Vec::new(),
            None => Use::IDENTITIES.into_iter().filter(|purpose| !good(purpose)).collect(),
        },
        asked: asked.is_some(),
        answered: asked.is_some_and(|request| request.answered),
        complete: Use::IDENTITIES.iter().all(|purpose| keys.held(*purpose).is_some()),
        outdated: keys.outdated.clone(),
    }
}

/// Where the gateway has to find the servers, once every Service has its address.
fn addresses(site: &Site, view: &View) -> Option<BTreeMap<String, String>> {
    let at = |service: &str, port: u16| {
        Some(match view.live.address(service)? {
            IpAddr::V4(address) => format!("tcp:{address}:{port}"),
            IpAddr::V6(address) => format!("tcp:[{address}]:{port}"),
        })
    };
    let sc = (String::new(), at("sc", names::SC_PUBLIC)?);
    let spus = names::spus(view.shape.spus, &site.config.zones).into_iter();
    let spus = spus.map(|spu| Some((spu.name.clone(), at(&spu.service(), names::SPU_PUBLIC)?)));
    std::iter::once(Some(sc)).chain(spus).collect()
}

/// Claims of SPUs that the cluster does not have any more, and that no pod uses.
fn empty_claims(site: &Site, view: &View) -> Vec<String> {
    if view.live.namespace() != NamespaceFacts::Present || view.live.spus() != Some(view.shape.spus) {
        return Vec::new();
    }
    let pods = names::pods(view.shape.spus, &site.config.zones);
    let kept: Vec<String> = pods.iter().map(|pod| objects::claim_of(pod)).collect();
    let used = |claim: &str| view.live.pods().any(|(pod, _)| objects::claim_of(pod) == claim);
    let spare =
        |(claim, ..): &(&str, uuid::Uuid, bool)| !kept.iter().any(|kept| kept == claim) && !used(claim);
    view.live.claims().filter(spare).map(|(claim, ..)| claim.to_owned()).collect()
}

/// Whether the SPUs that are to go say that they hold nothing.
fn drained(mind: &Mind, keep: u8) -> bool {
    let first = crate::process::spu_id(keep);
    let Some(health) = &mind.health else { return false };
    let mut leaving = health.spus.iter().filter(|spu| spu.id >= first);
    leaving.all(|spu| spu.replicas == Some(0))
}
