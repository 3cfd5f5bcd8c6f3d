//! The link between SC and SPU: a Unix socket in the cluster's own folder, or mutual TLS between hosts.
//!
//! The SPU dials, says who it is and what it holds; the SC streams the settings and the SPU's partitions, the
//! SPU streams how they stand. Either side may be away: the SPU goes on with what it was told last, the SC
//! starts from what the SPU says in its hello. The `node` program uses the same socket, so that there is one
//! code path.

mod dial;
mod frames;
pub mod listen;
pub mod message;
mod pump;
mod relay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use cluster_settings::Settings;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::internal::Dialler;
use crate::sc::decide::InSyncAsked;
use crate::sc::metadata::Metadata;
use crate::sc::topic::Replicas;

pub use frames::{LinkError, bytes_of};
pub use message::{
    Assignment, ConsumerOffset, DurableEnd, Leader, OffsetsAnswer, OffsetsRequest, PartitionKey,
    ReplicaReport, ReplicaState, View,
};
pub use relay::Relay;

/// Requests on consumer offsets that may wait at one SPU.
const OFFSETS_QUEUE: usize = 256;

/// Both ends of a queue of answers, each with the id of its request.
type AnswerQueue = (mpsc::Sender<(u64, OffsetsAnswer)>, mpsc::Receiver<(u64, OffsetsAnswer)>);

/// A request on consumer offsets that this SPU has to answer, since it leads them.
#[derive(Debug)]
pub struct OffsetsCall {
    /// The operation.
    pub request: OffsetsRequest,
    /// Where the answer goes; dropping it is answered as a failure.
    pub reply: oneshot::Sender<OffsetsAnswer>,
}

/// The SPU's side of the link. Clones share one link.
#[derive(Debug, Clone)]
pub struct SpuLink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    settings: watch::Sender<Option<Arc<Settings>>>,
    view: watch::Sender<Arc<View>>,
    /// Where other SPUs are reached, and where this one is.
    peers: watch::Sender<Arc<BTreeMap<i32, String>>>,
    own_peer: Option<String>,
    /// Whether this process was registered before.
    came: AtomicBool,
    registered: watch::Sender<Option<i32>>,
    storage_elsewhere: watch::Sender<u64>,
    /// What the SC has to be told next.
    outbox: Mutex<Outbox>,
    wake: Notify,
    offsets_out: mpsc::Sender<OffsetsCall>,
    offsets_in: mpsc::Sender<OffsetsCall>,
    offsets_in_receiver: Mutex<Option<mpsc::Receiver<OffsetsCall>>>,
}

#[derive(Debug, Default)]
struct Outbox {
    reports: BTreeMap<PartitionKey, ReplicaReport>,
    changed: BTreeSet<PartitionKey>,
    view_applied: Option<u64>,
    settings_applied: Option<u64>,
    /// Sets of copies that this SPU wants as a leader, the last for each partition.
    in_sync: BTreeMap<PartitionKey, InSyncAsked>,
}

impl SpuLink {
    /// A link for the SPU of this name, which starts from what it kept on disk, and the future that keeps it up
    /// until `stop`.
    pub fn new(
        name: String,
        dialler: Dialler,
        peer: Option<String>,
        kept: Vec<Assignment>,
        settings: Option<Settings>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (offsets_out, offsets_out_receiver) = mpsc::channel(OFFSETS_QUEUE);
        let link = Self::unlinked(name, peer, kept, settings, offsets_out);
        (link.clone(), dial::keep_up(link, dialler, offsets_out_receiver, stop))
    }

    fn unlinked(
        name: String,
        peer: Option<String>,
        kept: Vec<Assignment>,
        settings: Option<Settings>,
        offsets_out: mpsc::Sender<OffsetsCall>,
    ) -> Self {
        let (offsets_in, offsets_in_receiver) = mpsc::channel(OFFSETS_QUEUE);
        let view = View {
            revision: 0,
            topics: kept.iter().map(|kept| (kept.key.topic.clone(), kept.topic_id)).collect(),
            leaders: kept.iter().map(|kept| (kept.key.clone(), Leader::of(kept))).collect(),
            assignments: kept.into_iter().map(|kept| (kept.key.clone(), kept)).collect(),
            retired: BTreeSet::new(),
            dropped: BTreeSet::new(),
            smart_modules: BTreeSet::new(),
        };
        Self {
            shared: Arc::new(Shared {
                name,
                settings: watch::Sender::new(settings.map(Arc::new)),
                view: watch::Sender::new(Arc::new(view)),
                registered: watch::Sender::new(None),
                storage_elsewhere: watch::Sender::new(0),
                peers: watch::Sender::default(),
                own_peer: peer,
                came: AtomicBool::new(false),
                outbox: Mutex::default(),
                wake: Notify::new(),
                offsets_out,
                offsets_in,
                offsets_in_receiver: Mutex::new(Some(offsets_in_receiver)),
            }),
        }
    }

    /// The SPU's name in the settings.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The settings in force; `None` until the first arrive.
    pub fn settings(&self) -> watch::Receiver<Option<Arc<Settings>>> {
        self.shared.settings.subscribe()
    }

    /// What this SPU keeps. The first value is what it kept on disk.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.shared.view.subscribe()
    }

    /// The SPU's id while the SC has it registered.
    pub fn registered(&self) -> watch::Receiver<Option<i32>> {
        self.shared.registered.subscribe()
    }

    /// Bytes of log on the cluster's other SPUs.
    pub fn storage_elsewhere(&self) -> watch::Receiver<u64> {
        self.shared.storage_elsewhere.subscribe()
    }

    /// Tells the SC that the settings of this generation are durably kept and in force here.
    pub fn applied_settings(&self, generation: u64) {
        self.tell(|outbox| outbox.settings_applied = Some(generation));
    }

    /// Tells the SC that the view of this revision is durably kept and in force, its retired data gone.
    pub fn applied_view(&self, revision: u64) {
        self.tell(|outbox| outbox.view_applied = Some(revision));
    }

    /// Tells the SC how one copy stands. Cheap: only the last report of a partition is sent, with the others
    /// that wait.
    pub fn report(&self, report: ReplicaReport) {
        self.tell(|outbox| {
            if outbox.reports.get(&report.key) != Some(&report) {
                outbox.changed.insert(report.key.clone());
                outbox.reports.insert(report.key.clone(), report);
            }
        });
    }

    /// Asks the SC for another set of copies in sync. Only the last for each partition is sent; ask again if the
    /// assignment does not change.
    pub fn ask_in_sync(&self, asked: InSyncAsked) {
        self.tell(|outbox| {
            outbox.in_sync.insert(asked.key.clone(), asked);
        });
    }

    /// Where the cluster's SPUs reach each other, by id.
    pub fn peers(&self) -> watch::Receiver<Arc<BTreeMap<i32, String>>> {
        self.shared.peers.subscribe()
    }

    /// Has an operation done by whichever SPU leads the consumer offsets.
    pub async fn offsets(&self, request: OffsetsRequest) -> Result<OffsetsAnswer, LinkError> {
        let (reply, answer) = oneshot::channel();
        let call = OffsetsCall { request, reply };
        self.shared.offsets_out.try_send(call).map_err(|_| LinkError::Away)?;
        answer.await.map_err(|_| LinkError::Away)
    }

    /// The requests that this SPU has to answer while it leads the consumer offsets; there is one taker.
    pub fn take_offsets_requests(&self) -> Option<mpsc::Receiver<OffsetsCall>> {
        self.shared.offsets_in_receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// As if the SC had registered it, or lost it.
    #[cfg(test)]
    pub(crate) fn register(&self, spu: Option<i32>) {
        self.shared.registered.send_replace(spu);
    }

    fn tell(&self, change: impl FnOnce(&mut Outbox)) {
        change(&mut self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_one();
    }

    fn outbox<R>(&self, take: impl FnOnce(&mut Outbox) -> R) -> R {
        take(&mut self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The partitions of which an SPU keeps a copy.
pub fn assignments(spu: i32, metadata: &Metadata) -> BTreeMap<PartitionKey, Assignment> {
    let mut held = BTreeMap::new();
    for (name, topic) in &metadata.topics {
        for (partition, placed) in
            topic.partitions.iter().filter(|(_, placed)| placed.replicas.contains(&spu))
        {
            let key = PartitionKey { topic: name.clone(), partition: *partition };
            let assignment = Assignment {
                key: key.clone(),
                topic_id: topic.id,
                epoch: placed.epoch,
                leader: placed.leader,
                replicas: placed.replicas.clone(),
                in_sync: placed.in_sync.clone(),
                factor: placed.factor,
                placed_by_client: matches!(topic.spec.replicas, Replicas::Assigned(_)),
                options: topic.spec.options.clone(),
            };
            held.insert(key, assignment);
        }
    }
    held
}

#[cfg(test)]
mod tests;
