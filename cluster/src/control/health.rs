//! Whether a client could use the cluster now.

use serde::Serialize;

use crate::link::SpuLink;
use crate::sc::decide::replicas;
use crate::sc::state::State;
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::usage::Usage;

/// The answer to `GET /v1/health` of an SC.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct ClusterHealth {
    /// A client can use it.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the settings in force; 0 without any.
    pub generation: u64,
    /// The cluster's SPUs.
    pub spus: Vec<SpuHealth>,
    /// Topics, the system's not counted.
    pub topics: usize,
    /// Partitions, the system's not counted.
    pub partitions: u32,
    /// Bytes of log over all SPUs.
    pub storage_bytes: u64,
    /// Places in copies of partitions that are damaged and not mended yet: reading there may fail, all else is served.
    pub damaged: u64,
}

/// One SPU.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct SpuHealth {
    /// Id.
    pub id: i32,
    /// Name.
    pub name: String,
    /// Whether it is registered.
    pub online: bool,
    /// Copies of partitions on it, the system's counted: 0 means that it can be taken away.
    pub replicas: usize,
}

/// The answer to `GET /v1/health` of an SPU.
#[derive(Debug, Serialize)]
pub struct OneSpuHealth {
    /// It serves clients.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Whether the SC has it registered. An SPU serves without, but takes no new partitions.
    pub registered: bool,
    /// Of the settings in force; 0 without any.
    pub generation: u64,
    /// Partitions of which it keeps a copy.
    pub partitions: usize,
    /// Places in their logs that are damaged and not mended yet: reading there fails, all else is served.
    pub damaged: u64,
}

/// Of the cluster.
pub fn of_cluster(state: &State) -> ClusterHealth {
    let reason = why_not_ready(state);
    let replicas = replicas(&state.metadata);
    ClusterHealth {
        ready: reason.is_none(),
        reason,
        generation: state.settings.as_ref().map_or(0, |settings| settings.generation),
        spus: state
            .spus
            .iter()
            .map(|(name, spu)| SpuHealth {
                id: spu.id,
                name: name.clone(),
                online: spu.online,
                replicas: replicas.get(&spu.id).copied().unwrap_or(0),
            })
            .collect(),
        topics: state.n_topics(),
        partitions: state.metadata.n_partitions(),
        storage_bytes: state.storage_bytes(),
        damaged: state.partitions.values().map(|partition| partition.damaged()).sum(),
    }
}

fn why_not_ready(state: &State) -> Option<String> {
    if state.settings.is_none() {
        return Some("no settings yet".into());
    }
    let away: Vec<&str> =
        state.spus.iter().filter(|(_, spu)| !spu.online).map(|(name, _)| name.as_str()).collect();
    if !away.is_empty() {
        return Some(format!("not registered: {}", away.join(", ")));
    }
    match state.topics.get(CONSUMER_OFFSETS) {
        Some(offsets) if offsets.online => None,
        Some(_) | None => Some("the topic of consumer offsets does not serve yet".into()),
    }
}

/// Of one SPU.
pub fn of_spu(link: &SpuLink, usage: &Usage) -> OneSpuHealth {
    let generation = link.settings().borrow().as_ref().map_or(0, |settings| settings.generation);
    OneSpuHealth {
        ready: generation > 0,
        reason: (generation == 0).then_some("no settings yet"),
        registered: link.registered().borrow().is_some(),
        generation,
        partitions: link.view().borrow().assignments.len(),
        damaged: usage.damaged.get(),
    }
}
