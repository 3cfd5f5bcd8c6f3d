//! What is known of a cluster's live objects: little enough that ten thousand clusters fit in memory. Of an
//! object that the provisioner writes, only whether it is as it was wanted; of pods, StatefulSets, Services and
//! volumes, what deciding and the tenant's status need.
//!
//! The watches fill it, and so do the answers to our own writes, whichever comes first.

mod judge;
mod names;
mod read;

pub use judge::{covers_object, judge, owner};

use std::net::IpAddr;
use std::sync::Arc;

use kube::core::DynamicObject;
use uuid::Uuid;

use super::objects::{Kind, Ref};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// What the provisioner writes.
    Written(Kind),
    /// The servers' pods.
    Pod,
    /// The servers' claims to volumes.
    Claim,
    /// The volumes themselves, which outlive a namespace for a moment.
    Volume,
}

/// A live object that the provisioner writes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    name: Arc<str>,
    uid: Uuid,
    version: u64,
    /// Fingerprint of the wanted object that it was found to cover; 0: of none.
    covered: u64,
    /// Round of its watch in which it was seen last.
    round: u32,
}

/// How something is known.
struct Known<'a> {
    name: &'a str,
    uid: Uuid,
    version: u64,
    round: u32,
}

impl Entry {
    fn known(&self) -> Known<'_> {
        Known { name: &self.name, uid: self.uid, version: self.version, round: self.round }
    }
}

impl<T> Named<T> {
    fn known(&self) -> Known<'_> {
        Known { name: &self.name, uid: self.uid, version: self.version, round: self.round }
    }
}

/// A StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFacts {
    /// Pods that it should have.
    pub replicas: i32,
    /// Pods that there are.
    pub existing: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods of its newest template.
    pub updated: i32,
    /// Its status is of its newest specification.
    pub observed: bool,
    /// The Secret that its pods mount.
    pub internal: Option<Arc<str>>,
}

impl SetFacts {
    /// Every pod is there, of the newest template, and ready.
    pub fn is_whole(&self) -> bool {
        self.observed && [self.existing, self.ready, self.updated].iter().all(|count| *count == self.replicas)
    }

    /// No pod is there.
    pub fn is_empty(&self) -> bool {
        self.observed && self.replicas == 0 && self.existing == 0
    }
}

/// What keeps a pod from working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodTrouble {
    /// No machine has room.
    Unschedulable,
    /// Its image cannot be fetched.
    Image,
    /// It ends again and again.
    Crashing,
    /// It was ended because it used more memory than it has.
    OutOfMemory,
    /// It cannot be started as it is described.
    Setup,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// Its server runs.
    pub started: bool,
    /// It can serve.
    pub ready: bool,
    /// It is on its way out.
    pub ending: bool,
    /// Times that its server was started again.
    pub restarts: i32,
    /// What keeps it from working, and the machine's own words.
    pub trouble: Option<(PodTrouble, Box<str>)>,
}

/// One thing by its name, with its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named<T> {
    name: Arc<str>,
    uid: Uuid,
    version: u64,
    round: u32,
    facts: T,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Live {
    entries: Vec<Entry>,
    namespace_ending: bool,
    spus: Option<u8>,
    orphaned: Option<i64>,
    quota_in_force: bool,
    addresses: Vec<Named<IpAddr>>,
    sets: Vec<Named<SetFacts>>,
    pods: Vec<Named<PodFacts>>,
    claims: Vec<Named<bool>>,
    volumes: Vec<Named<()>>,
}

/// How a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceFacts {
    /// There is none.
    Absent,
    /// It is there.
    Present,
    /// It is being deleted.
    Ending,
}

impl Live {
    /// Whether anything of the cluster is there.
    pub fn is_nothing(&self) -> bool {
        self.entries.is_empty() && self.pods.is_empty() && self.claims.is_empty() && self.volumes.is_empty()
    }

    /// How the namespace is.
    pub fn namespace(&self) -> NamespaceFacts {
        match self.entries.iter().any(|entry| entry.kind == Kind::Namespace) {
            false => NamespaceFacts::Absent,
            true if self.namespace_ending => NamespaceFacts::Ending,
            true => NamespaceFacts::Present,
        }
    }

    /// The identity of a live object.
    pub fn uid(&self, object: &Ref) -> Option<Uuid> {
        self.entry(object).map(|entry| entry.uid)
    }

    /// Whether an object is live and covers the wanted one with this fingerprint.
    pub fn is_covered(&self, object: &Ref, fingerprint: u64) -> bool {
        self.entry(object).is_some_and(|entry| entry.covered == fingerprint)
    }

    /// Live objects that the provisioner writes.
    pub fn refs(&self) -> impl Iterator<Item = Ref> + '_ {
        self.entries.iter().map(|entry| Ref { kind: entry.kind, name: entry.name.to_string() })
    }

    /// SPUs that the cluster was given objects for, as the namespace says.
    pub fn spus(&self) -> Option<u8> {
        self.spus
    }

    /// Since when the cluster does not exist, as the namespace says (seconds since 1970).
    pub fn orphaned_since(&self) -> Option<i64> {
        self.orphaned
    }

    /// Whether the namespace's quota counts.
    pub fn quota_in_force(&self) -> bool {
        self.quota_in_force
    }

    /// The address of a Service.
    pub fn address(&self, service: &str) -> Option<IpAddr> {
        self.addresses.iter().find(|known| &*known.name == service).map(|known| known.facts)
    }

    /// A StatefulSet.
    pub fn set(&self, name: &str) -> Option<&SetFacts> {
        self.sets.iter().find(|known| &*known.name == name).map(|known| &known.facts)
    }

    /// All StatefulSets.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &SetFacts)> {
        self.sets.iter().map(|known| (&*known.name, &known.facts))
    }

    /// Whether no server runs, and none starts.
    pub fn at_rest(&self) -> bool {
        self.namespace() == NamespaceFacts::Absent
            || (self.pods.is_empty() && self.sets.iter().all(|known| known.facts.is_empty()))
    }

    /// A pod.
    pub fn pod(&self, name: &str) -> Option<&PodFacts> {
        self.pods.iter().find(|known| &*known.name == name).map(|known| &known.facts)
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = (&str, &PodFacts)> {
        self.pods.iter().map(|known| (&*known.name, &known.facts))
    }

    /// All claims, and whether each has its volume.
    pub fn claims(&self) -> impl Iterator<Item = (&str, Uuid, bool)> {
        self.claims.iter().map(|known| (&*known.name, known.uid, known.facts))
    }

    /// Volumes that the cluster holds.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.volumes.iter().map(|known| &*known.name)
    }

    fn entry(&self, object: &Ref) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.kind == object.kind && *entry.name == *object.name)
    }

    /// Takes in a live object, with the fingerprint that it covers; says whether anything changed that matters.
    pub fn take(&mut self, watched: Watched, object: &DynamicObject, covered: u64, round: u32) -> bool {
        let Some((name, uid, version)) = read::identity(object) else { return false };
        if let Watched::Written(kind) = watched {
            match self.entries.iter_mut().find(|entry| entry.kind == kind && *entry.name == *name) {
                // An older view: an event that was overtaken by our own write's answer. Versions are the store's,
                // so they order an object's lives too.
                Some(entry) if entry.version > version => {
                    entry.round = round;
                    false
                }
                Some(entry) => {
                    let changed = entry.uid != uid || entry.covered != covered;
                    (entry.uid, entry.version, entry.covered, entry.round) = (uid, version, covered, round);
                    self.take_facts(watched, object, name, uid, version, round) || changed
                }
                None => {
                    self.entries.reserve_exact(1);
                    self.entries.push(Entry { kind, name: Arc::clone(&name), uid, version, covered, round });
                    self.take_facts(watched, object, name, uid, version, round);
                    true
                }
            }
        } else {
            self.take_facts(watched, object, name, uid, version, round)
        }
    }

    fn take_facts(
        &mut self,
        watched: Watched,
        object: &DynamicObject,
        name: Arc<str>,
        uid: Uuid,
        version: u64,
        round: u32,
    ) -> bool {
        match watched {
            Watched::Written(Kind::Namespace) => {
                let before = (self.namespace_ending, self.spus, self.orphaned);
                self.namespace_ending = object.metadata.deletion_timestamp.is_some();
                self.spus = read::spus(object);
                self.orphaned = read::orphaned(object);
                before != (self.namespace_ending, self.spus, self.orphaned)
            }
            Watched::Written(Kind::ResourceQuota) => {
                let in_force = read::quota_in_force(&object.data);
                std::mem::replace(&mut self.quota_in_force, in_force) != in_force
            }
            Watched::Written(Kind::Service) => match read::address(&object.data) {
                Some(facts) => keep(&mut self.addresses, Named { name, uid, version, round, facts }),
                None => false,
            },
            Watched::Written(Kind::StatefulSet) => {
                let facts = read::set(object);
                keep(&mut self.sets, Named { name, uid, version, round, facts })
            }
            Watched::Written(_) => false,
            Watched::Pod => {
                let facts = read::pod(object);
                keep(&mut self.pods, Named { name, uid, version, round, facts })
            }
            Watched::Claim => {
                let facts = read::is_bound(&object.data);
                keep(&mut self.claims, Named { name, uid, version, round, facts })
            }
            Watched::Volume => keep(&mut self.volumes, Named { name, uid, version, round, facts: () }),
        }
    }

    /// Takes in that an object is gone; says whether it was known.
    pub fn lose(&mut self, watched: Watched, object: &DynamicObject) -> bool {
        let Some((name, uid, _)) = read::identity(object) else { return false };
        self.lose_seen(watched, &name, uid)
    }

    /// Takes in that an object that was seen is gone.
    pub fn lose_seen(&mut self, watched: Watched, name: &str, uid: Uuid) -> bool {
        self.drop_where(watched, |known| *known.name == *name && known.uid == uid)
    }

    /// Forgets what a whole look did not find; says whether there was any.
    pub fn sweep(&mut self, watched: Watched, round: u32) -> bool {
        self.drop_where(watched, |known| known.round != round)
    }

    /// Forgets what was not there at this version; says whether there was any.
    pub fn keep_only(&mut self, watched: Watched, there: impl Fn(&str) -> bool, version: u64) -> bool {
        self.drop_where(watched, |known| known.version <= version && !there(known.name))
    }

    fn drop_where(&mut self, watched: Watched, gone: impl Fn(Known<'_>) -> bool) -> bool {
        let mut changed = false;
        if let Watched::Written(kind) = watched {
            let before = self.entries.len();
            self.entries.retain(|entry| entry.kind != kind || !gone(entry.known()));
            changed = before != self.entries.len();
        }
        changed
            | match watched {
                Watched::Written(Kind::Service) => forget(&mut self.addresses, gone),
                Watched::Written(Kind::StatefulSet) => forget(&mut self.sets, gone),
                Watched::Written(Kind::ResourceQuota) if changed => {
                    std::mem::replace(&mut self.quota_in_force, false)
                }
                Watched::Written(Kind::Namespace) if changed => {
                    (self.spus, self.orphaned) = (None, None);
                    std::mem::replace(&mut self.namespace_ending, false)
                }
                Watched::Written(_) => false,
                Watched::Pod => forget(&mut self.pods, gone),
                Watched::Claim => forget(&mut self.claims, gone),
                Watched::Volume => forget(&mut self.volumes, gone),
            }
    }
}

fn keep<T: PartialEq>(all: &mut Vec<Named<T>>, new: Named<T>) -> bool {
    match all.iter_mut().find(|known| known.name == new.name) {
        Some(known) => {
            if known.version > new.version {
                known.round = new.round;
                return false;
            }
            let changed = known.uid != new.uid || known.facts != new.facts;
            *known = new;
            changed
        }
        None => {
            all.reserve_exact(1);
            all.push(new);
            true
        }
    }
}

fn forget<T>(all: &mut Vec<Named<T>>, gone: impl Fn(Known<'_>) -> bool) -> bool {
    let before = all.len();
    all.retain(|named| !gone(named.known()));
    before != all.len()
}

#[cfg(test)]
mod tests;
