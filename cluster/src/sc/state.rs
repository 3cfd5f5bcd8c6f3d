//! What the SC knows at one moment: the metadata, and what is alive. Immutable once published; whoever watches
//! compares the snapshot it saw last with the newest one, so that nobody can miss a change or fall behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster_settings::{PublicEndpoint, Settings};
use tokio::time::Instant;
use uuid::Uuid;

use super::decide::{Unwell, World};
use super::metadata::{Metadata, Standing, Topic};
use super::objects::{self, CustomSpu, SpuGroup, Table};
use super::topic::TopicOptions;
use crate::link::{PartitionKey, ReplicaReport, ReplicaState};

/// One moment.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The settings in force.
    pub settings: Option<Arc<Settings>>,
    /// What is on disk.
    pub metadata: Arc<Metadata>,
    /// Topics by name, as clients see them.
    pub topics: Arc<BTreeMap<String, Arc<TopicView>>>,
    /// Partitions by key, as clients see them.
    pub partitions: Arc<BTreeMap<PartitionKey, Arc<PartitionView>>>,
    /// The cluster's own SPUs by name, as clients see them.
    pub spus: Arc<BTreeMap<String, Arc<SpuView>>>,
    /// These and the custom ones.
    pub all_spus: Table<SpuView>,
    /// Groups of SPUs by name.
    pub spu_groups: Table<SpuGroup>,
    /// Generation of the settings that each registered SPU has in force.
    pub settings_applied: BTreeMap<i32, u64>,
    /// Where SPUs reach each other, by id.
    pub peers: Arc<BTreeMap<i32, String>>,
    /// Bytes of log on each SPU, its copies counted.
    pub stored: BTreeMap<i32, u64>,
    /// Grows when anything changes but the numbers of partitions; those may reach watchers a little later.
    pub urgent: u64,
    /// Whether topics may be made: false until the SPUs of an SC without a disk have said what they hold.
    pub open: bool,
}

/// A topic as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicView {
    /// What is on disk.
    pub topic: Arc<Topic>,
    /// Whether its partitions all serve.
    pub online: bool,
}

/// A partition as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// The topic's incarnation.
    pub topic_id: Uuid,
    /// SPU that leads.
    pub leader: i32,
    /// All SPUs with a copy.
    pub replicas: Vec<i32>,
    /// The topic's.
    pub options: TopicOptions,
    /// Whether it serves.
    pub resolution: Resolution,
    /// What the leader said last.
    pub numbers: Numbers,
    /// Copies that have every committed record, the leader counted.
    pub n_in_sync: usize,
    /// The other SPUs with a copy, and what each said last.
    pub followers: Vec<(i32, Numbers)>,
}

/// Where a log stands. -1 is unknown, as upstream has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// First offset.
    pub base_offset: i64,
    /// First offset not yet safe to serve.
    pub high_watermark: i64,
    /// First offset not yet written.
    pub log_end: i64,
    /// Bytes on disk.
    pub size: i64,
    /// Places in the log that are damaged and not mended yet.
    pub damaged: u64,
}

/// Whether a partition serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Its leader has not opened it.
    Offline,
    /// It serves.
    Online,
    /// Its leader is away.
    LeaderOffline,
    /// It serves what it has.
    OutOfStorage,
}

/// An SPU as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpuView {
    /// Id.
    pub id: i32,
    /// Where clients dial it.
    pub endpoint: PublicEndpoint,
    /// Whether they meet TLS there.
    pub tls: bool,
    /// The failure domain that it is in.
    pub rack: Option<String>,
    /// Whether it is there.
    pub online: bool,
    /// What a user announced, if it is not the cluster's own.
    pub custom: Option<Arc<CustomSpu>>,
}

/// What the link knows: which SPUs are there and how the copies stand.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Registered SPUs.
    pub online: BTreeSet<i32>,
    /// SPUs that are surely away, and since when.
    pub gone: BTreeMap<i32, Instant>,
    /// Those of them that have been for too long.
    pub lost: BTreeSet<i32>,
    /// Those that are there and too old to know of copies that move.
    pub old: BTreeSet<i32>,
    /// Whether none has come or gone for a while.
    pub calm: bool,
    /// The last report of each copy, by SPU; kept while the SPU is away.
    pub reports: BTreeMap<(PartitionKey, i32), ReplicaReport>,
}

impl State {
    /// The world for decisions.
    pub fn world(&self, live: &Live) -> World {
        let settings = self.settings.as_deref();
        let spus = || settings.into_iter().flat_map(|settings| &settings.spus);
        World {
            spus: spus().map(|spu| (spu.id, live.online.contains(&spu.id))).collect(),
            racks: spus().filter_map(|spu| Some((spu.id, spu.rack.clone()?))).collect(),
            gone: live.gone.keys().copied().collect(),
            lost: live.lost.clone(),
            calm: live.calm,
            fixed: !live.old.is_empty(),
            unwell: Unwell::of(&self.metadata, &live.reports),
            leaving: spus().filter(|spu| spu.leaving).map(|spu| spu.id).collect(),
            partitions_limit: settings.map_or(0, |settings| settings.limits.partitions),
        }
    }

    /// Looks at everything anew.
    pub fn refresh(&mut self, live: &Live) {
        let partitions = self.metadata.topics.iter().flat_map(|(name, topic)| {
            topic.partitions.keys().map(move |index| PartitionKey { topic: name.clone(), partition: *index })
        });
        let partitions: BTreeMap<_, _> = partitions
            .filter_map(|key| {
                let view = self.partition_view(&key, live)?;
                let known = self.partitions.get(&key).filter(|known| ***known == view).cloned();
                Some((key, known.unwrap_or_else(|| Arc::new(view))))
            })
            .collect();
        replace(&mut self.partitions, partitions);
        let topics = self.topic_views();
        replace(&mut self.topics, topics);
        let spus = self.spu_views(live);
        replace(&mut self.spus, spus);
        self.all_spus = objects::all_spus(&self.spus, &self.metadata.objects.custom_spus, &self.all_spus);
        let own = self.settings.as_deref().map_or(&[][..], |settings| &settings.spus);
        self.spu_groups = objects::groups(own, &self.spu_groups);
        self.count_stored(live);
        self.urgent += 1;
    }

    /// Looks anew at these partitions only, and their topics if one began or ceased to serve.
    pub fn refresh_partitions<'a>(&mut self, keys: impl Iterator<Item = &'a PartitionKey>, live: &Live) {
        let mut resolution_changed = false;
        for key in keys {
            let Some(view) = self.partition_view(key, live) else { continue };
            let known = self.partitions.get(key);
            if known.is_some_and(|known| **known == view) {
                continue;
            }
            resolution_changed |= known.is_none_or(|known| known.resolution != view.resolution);
            Arc::make_mut(&mut self.partitions).insert(key.clone(), Arc::new(view));
        }
        if resolution_changed {
            let topics = self.topic_views();
            replace(&mut self.topics, topics);
            self.urgent += 1;
        }
    }

    /// Counts anew what each SPU stores.
    pub fn count_stored(&mut self, live: &Live) {
        self.stored.clear();
        for ((_, spu), report) in &live.reports {
            *self.stored.entry(*spu).or_default() += report.size;
        }
    }

    fn partition_view(&self, key: &PartitionKey, live: &Live) -> Option<PartitionView> {
        let topic = self.metadata.topics.get(&key.topic)?;
        let placed = topic.partitions.get(&key.partition)?;
        let report_of =
            |spu: i32| live.reports.get(&(key.clone(), spu)).filter(|report| report.topic_id == topic.id);
        let numbers_of = |spu: i32| report_of(spu).map_or(Numbers::UNKNOWN, Numbers::from);
        let followers = placed.replicas.iter().filter(|spu| **spu != placed.leader);
        let report = report_of(placed.leader);
        Some(PartitionView {
            topic_id: topic.id,
            leader: placed.leader,
            replicas: placed.replicas.clone(),
            options: topic.spec.options.clone(),
            resolution: resolution(live.online.contains(&placed.leader), placed.epoch, report),
            numbers: numbers_of(placed.leader),
            n_in_sync: placed.in_sync.spus.len(),
            followers: followers.map(|spu| (*spu, numbers_of(*spu))).collect(),
        })
    }

    fn topic_views(&self) -> BTreeMap<String, Arc<TopicView>> {
        let view = |(name, topic): (&String, &Arc<Topic>)| {
            let serves = |index: &u32| {
                let key = PartitionKey { topic: name.clone(), partition: *index };
                self.partitions.get(&key).is_some_and(|partition| partition.resolution.serves())
            };
            let online = topic.standing == Standing::Provisioned && topic.partitions.keys().all(serves);
            let known = self
                .topics
                .get(name)
                .filter(|known| known.online == online && Arc::ptr_eq(&known.topic, topic));
            let view = known.cloned().unwrap_or_else(|| Arc::new(TopicView { topic: topic.clone(), online }));
            (name.clone(), view)
        };
        self.metadata.topics.iter().map(view).collect()
    }

    fn spu_views(&self, live: &Live) -> BTreeMap<String, Arc<SpuView>> {
        let Some(settings) = self.settings.as_deref() else { return BTreeMap::new() };
        let view = |spu: &cluster_settings::SpuEntry| {
            let view = SpuView {
                id: spu.id,
                endpoint: spu.public_endpoint.as_ref().unwrap_or(&settings.public_endpoint).clone(),
                tls: settings.identity.is_some(),
                rack: spu.rack.clone(),
                online: live.online.contains(&spu.id),
                custom: None,
            };
            let known = self.spus.get(&spu.name).filter(|known| ***known == view).cloned();
            (spu.name.clone(), known.unwrap_or_else(|| Arc::new(view)))
        };
        settings.spus.iter().map(view).collect()
    }

    /// Topics, the system's not counted.
    pub fn n_topics(&self) -> usize {
        self.topics.values().filter(|view| !view.topic.spec.options.system).count()
    }

    /// Bytes of log over all SPUs.
    pub fn storage_bytes(&self) -> u64 {
        self.partitions.values().map(|partition| u64::try_from(partition.numbers.size).unwrap_or(0)).sum()
    }
}

impl PartitionView {
    /// Places that are damaged and not mended yet, in all copies.
    pub fn damaged(&self) -> u64 {
        self.numbers.damaged + self.followers.iter().map(|(_, numbers)| numbers.damaged).sum::<u64>()
    }
}

/// A map that did not change stays the same allocation, by which watchers see at once that it did not.
fn replace<K: Ord, V>(known: &mut Arc<BTreeMap<K, Arc<V>>>, new: BTreeMap<K, Arc<V>>) {
    let same = known.len() == new.len()
        && known.iter().zip(&new).all(|(known, new)| known.0 == new.0 && Arc::ptr_eq(known.1, new.1));
    if !same {
        *known = Arc::new(new);
    }
}

fn resolution(leader_online: bool, epoch: u32, report: Option<&ReplicaReport>) -> Resolution {
    match report {
        _ if !leader_online => Resolution::LeaderOffline,
        Some(report) if report.epoch == epoch => match report.state {
            ReplicaState::Online => Resolution::Online,
            ReplicaState::OutOfStorage => Resolution::OutOfStorage,
            ReplicaState::Failed => Resolution::Offline,
        },
        Some(_) | None => Resolution::Offline,
    }
}

impl Resolution {
    /// Whether consumers can read.
    pub fn serves(self) -> bool {
        matches!(self, Self::Online | Self::OutOfStorage)
    }
}

impl Numbers {
    /// Before the first report. The size is 0 because the published CLI takes a negative one for a failure.
    pub const UNKNOWN: Self = Self { base_offset: 0, high_watermark: -1, log_end: -1, size: 0, damaged: 0 };
}

impl From<&ReplicaReport> for Numbers {
    fn from(report: &ReplicaReport) -> Self {
        Self {
            base_offset: report.base_offset,
            high_watermark: report.high_watermark,
            log_end: report.log_end,
            size: i64::try_from(report.size).unwrap_or(i64::MAX),
            damaged: report.damaged,
        }
    }
}
