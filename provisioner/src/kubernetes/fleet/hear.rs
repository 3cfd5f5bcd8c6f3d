//! What the watches and the answers to our own writes tell.

use kube::core::DynamicObject;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Fleet, Ward};
use crate::kubernetes::live::{self, Watched};

impl Fleet {
    /// Takes in a live object from a watch. Most of what a watch tells is the provisioner's own doing, and was taken
    /// in with the answer to the write.
    pub fn hear(&self, watched: Watched, object: &DynamicObject) {
        let Some(cluster) = live::owner(watched, object) else { return };
        let known = {
            let mut inner = self.inner();
            let round = inner.rounds.get(&watched).map_or(0, |(round, _)| *round);
            let ward = inner.wards.entry(cluster).or_default();
            ward.heard = Some(Instant::now());
            ward.live.knows(watched, object, round)
        };
        if !known {
            self.see(watched, object);
        }
    }

    /// Takes in a live object, from a watch or from the answer to a write or a question; says
    /// whether that was news.
    pub fn see(&self, watched: Watched, object: &DynamicObject) -> bool {
        let Some(cluster) = live::owner(watched, object) else { return false };
        // Judged without the lock: building the wanted object takes longer than all else here.
        let covered = match watched {
            Watched::Written(kind) => {
                let shape = self.inner().wards.get(&cluster).and_then(Ward::shape);
                shape.map_or(0, |shape| live::judge(&self.site, &shape, kind, object))
            }
            Watched::Pod | Watched::Claim | Watched::Volume => 0,
        };
        let mut inner = self.inner();
        let round = inner.rounds.get(&watched).map_or(0, |(round, _)| *round);
        let ward = inner.wards.entry(cluster).or_default();
        ward.heard = Some(Instant::now());
        let news = ward.live.take(watched, object, covered, round);
        if news {
            self.queue(&mut inner, cluster);
        }
        news
    }

    /// Takes in all live objects of one kind that a cluster has, as they were at this version of the API server's
    /// store: what is known of a later one stays. Says whether there was news in it.
    pub fn see_all(&self, cluster: Uuid, watched: Watched, objects: &[DynamicObject], version: u64) -> bool {
        let mut news = false;
        for object in objects {
            news |= self.see(watched, object);
        }
        let there = |name: &str| objects.iter().any(|object| object.metadata.name.as_deref() == Some(name));
        let mut inner = self.inner();
        let Some(ward) = inner.wards.get_mut(&cluster) else { return news };
        ward.live.keep_only(watched, there, version) || news
    }

    /// Takes in that an object is gone.
    pub fn lose(&self, watched: Watched, object: &DynamicObject) {
        let Some(cluster) = live::owner(watched, object) else { return };
        let mut inner = self.inner();
        let Some(ward) = inner.wards.get_mut(&cluster) else { return };
        if ward.live.lose(watched, object) {
            self.queue(&mut inner, cluster);
        }
    }

    /// Takes in that an object that was seen is gone by our own doing.
    pub fn lose_seen(&self, cluster: Uuid, watched: Watched, name: &str, uid: Uuid) {
        if let Some(ward) = self.inner().wards.get_mut(&cluster) {
            ward.live.lose_seen(watched, name, uid);
        }
    }

    /// A watch looks at everything anew.
    pub fn begin_round(&self, watched: Watched) {
        self.inner().rounds.entry(watched).or_default().0 += 1;
    }

    /// A watch has seen everything: what it did not see is gone.
    pub fn end_round(&self, watched: Watched) {
        let mut inner = self.inner();
        let (round, seen) = inner.rounds.entry(watched).or_default();
        *seen = true;
        let round = *round;
        let mut changed = Vec::new();
        for (cluster, ward) in &mut inner.wards {
            if ward.live.sweep(watched, round) {
                changed.push(*cluster);
            }
        }
        for cluster in changed {
            self.queue(&mut inner, cluster);
        }
        self.turn.notify_one();
    }

    /// Whether every watch has seen everything once.
    pub fn is_synced(&self, watches: &[Watched]) -> bool {
        let inner = self.inner();
        watches.iter().all(|watched| inner.rounds.get(watched).is_some_and(|(_, seen)| *seen))
    }
}
