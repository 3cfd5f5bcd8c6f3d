//! The follower's side: takes in what its leader sends, cuts back what its leader never had, and says how far it
//! is durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster_settings::Durability;
use cluster_storage::batch::{self, Limits};
use cluster_storage::{AppendError, Partition, Ticket, TruncateError};
use futures_util::stream::{FuturesUnordered, unfold};
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::answer::cut_to;
use crate::link::{Assignment, PartitionKey};
use crate::peer::{Ack, Ask, Fed, Follow, Parcel, ParcelError, PeerError, Placed, encode};
use crate::spu::whole::CopyId;
use crate::spu::{Replica, Spu, changed};

/// First and longest pause before asking again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Batches in a parcel: what a leader stored is taken as it is.
pub(super) const LIMITS: Limits = Limits { batch_bytes: 128 << 20, batches: usize::MAX };

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    #[error("the leader sent what is no batch: {0}")]
    Batch(#[from] batch::BatchError),
    #[error("the copy does not take it: {0}")]
    Append(#[from] AppendError),
    #[error("the copy cannot be cut back: {0}")]
    Truncate(#[from] TruncateError),
    #[error("the leader does not lead it now")]
    NotLeader,
    /// Not a fault: ask again at once.
    #[error("the copy was cut back to {0}")]
    CutBack(i64),
    /// The copy begins anew from there.
    #[error("the leader's log begins at {0} by now")]
    TooOld(i64),
}

/// All that this SPU follows: the task of each ends when it is dropped.
#[derive(Debug, Default)]
pub(in crate::spu) struct Follows {
    by_key: Mutex<HashMap<PartitionKey, Followed>>,
}

/// One partition that is followed.
#[derive(Debug)]
struct Followed {
    assignment: Assignment,
    log: Partition,
    task: AbortOnDropHandle<()>,
    /// Nothing is acknowledged any more from the moment in which it is dropped.
    _ends: DropGuard,
}

impl Followed {
    /// Whether it goes on as it is.
    fn is_of(&self, assignment: &Assignment, log: &Partition) -> bool {
        let placed = |one: &Assignment| (one.topic_id, one.epoch, one.leader);
        placed(&self.assignment) == placed(assignment) && self.log.is_same(log) && !self.task.is_finished()
    }
}

impl Follows {
    /// Makes them what the replicas say.
    pub(in crate::spu) fn follow(&self, spu: &Arc<Spu>, own: i32, replicas: &[Arc<Replica>]) {
        let mut known = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        for replica in replicas.iter().filter(|replica| !replica.leads && replica.has_copies()) {
            let Ok(log) = &replica.log else { continue };
            let assignment = &replica.assignment;
            let same = known.remove(&assignment.key).filter(|followed| followed.is_of(assignment, log));
            let followed = same.unwrap_or_else(|| {
                let (over, spu) = (CancellationToken::new(), Arc::clone(spu));
                let follower = Follower {
                    spu,
                    own,
                    assignment: assignment.clone(),
                    log: log.clone(),
                    over: over.clone(),
                };
                let task = AbortOnDropHandle::new(tokio::spawn(follower.keep_up()));
                Followed { assignment: assignment.clone(), log: log.clone(), task, _ends: over.drop_guard() }
            });
            next.insert(assignment.key.clone(), followed);
        }
        *known = next;
    }
}

struct Follower {
    spu: Arc<Spu>,
    own: i32,
    assignment: Assignment,
    log: Partition,
    over: CancellationToken,
}

impl Follower {
    /// Follows this leader in this epoch until there is another, which ends the task from outside.
    async fn keep_up(self) {
        let key = &self.assignment.key;
        let (mut pause, mut said) = (PAUSES.0, String::new());
        loop {
            let ended = match self.once().await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            match ended {
                Ended::CutBack(to) => {
                    tracing::info!(partition = %key, to, "the copy was cut back to what its leader has");
                    pause = PAUSES.0;
                    continue;
                }
                Ended::TooOld(log_start) => {
                    tracing::warn!(partition = %key, log_start, "the copy is too old and begins anew");
                    // By a task of its own, since it ends this one: the partition has another log then.
                    let (spu, assignment) = (Arc::clone(&self.spu), self.assignment.clone());
                    tokio::spawn(async move { spu.begin_anew(&assignment, log_start).await });
                    return;
                }
                ended => {
                    let reason = ended.to_string();
                    if said != reason {
                        tracing::warn!(partition = %key, leader = self.assignment.leader, %reason, "not following now");
                        said = reason;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn once(&self) -> Result<std::convert::Infallible, Ended> {
        // Behind whatever still waits to be written, of a leader before or of this SPU's own lead.
        let position = self.log.truncate(i64::MAX).await?;
        let follow = Follow {
            spu: self.own,
            placed: Placed { key: self.assignment.key.clone(), topic_id: self.assignment.topic_id },
            epoch: self.assignment.epoch,
            position,
            last_epoch: self.log.epoch_before(position),
        };
        let (begins, epoch_start) = watch::channel(None);
        let acks = Acks {
            spu: Arc::clone(&self.spu),
            whole: ((self.assignment.topic_id, self.assignment.key.partition), self.assignment.epoch),
            epoch_start,
            durable: self.log.watch_durable(),
            over: self.over.clone(),
            said: false,
            kept: self.spu.durability() == Durability::Memory,
        };
        let acks = acks.stream().filter_map(|durable| std::future::ready(encode(&Ack { durable }, 0).ok()));
        let (leader, ask) = (self.assignment.leader, Ask::Follow(follow));
        let mut fed = self.spu.peers.ask(leader, &ask, Bytes::new(), acks).await?;
        let mut tickets: FuturesUnordered<Ticket> = FuturesUnordered::new();
        loop {
            tokio::select! {
                parcel = fed.next::<Fed>() => {
                    let parcel = parcel?.ok_or(ParcelError::Cut)?;
                    if let Fed::Batches { epoch_start, .. } = parcel.head {
                        begins.send_if_modified(|known| known.replace(epoch_start).is_none());
                    }
                    if let Some(ticket) = self.take(parcel).await? {
                        tickets.push(ticket);
                    }
                }
                Some(stored) = tickets.next(), if !tickets.is_empty() => {
                    stored?;
                }
            }
        }
    }

    async fn take(&self, parcel: Parcel<Fed>) -> Result<Option<Ticket>, Ended> {
        match parcel.head {
            Fed::Batches { hw, log_start, .. } => {
                let ticket = match parcel.payload.is_empty() {
                    true => None,
                    false => {
                        let batches = batch::split(&parcel.payload, LIMITS)?;
                        Some(self.log.enqueue_copy(Replica::epoch_of(&self.assignment), batches).await?)
                    }
                };
                self.log.commit(hw);
                // What has a retention goes by that; consumers' offsets go when their leader has compacted them.
                if self.assignment.options.system && log_start > self.log.offsets().log_start {
                    self.log.let_go(log_start);
                }
                Ok(ticket)
            }
            Fed::Diverged { epoch, end } => {
                let to = cut_to(self.log.end_of_epoch(epoch), end);
                Err(Ended::CutBack(self.log.truncate(to).await?))
            }
            Fed::TooOld { log_start } => Err(Ended::TooOld(log_start)),
            Fed::NotLeader => Err(Ended::NotLeader),
        }
    }
}

/// How far a copy is durable, as its leader hears it: nothing before it is known where the leader's epoch begins, and
/// nothing beyond that before it is kept that the copy is whole.
struct Acks {
    spu: Arc<Spu>,
    whole: (CopyId, u32),
    /// `None` until the leader's first parcel; then what it said, if it did.
    epoch_start: watch::Receiver<Option<Option<i64>>>,
    durable: watch::Receiver<i64>,
    over: CancellationToken,
    said: bool,
    /// What is in memory only may be gone after a restart, so that it is not kept either.
    kept: bool,
}

impl Acks {
    fn stream(self) -> impl Stream<Item = i64> + Send {
        unfold(self, async |mut acks| {
            let durable = acks.next().await?;
            Some((durable, acks))
        })
    }

    async fn next(&mut self) -> Option<i64> {
        let epoch_start = (*self.epoch_start.wait_for(Option::is_some).await.ok()?).flatten();
        if self.said {
            changed(&mut self.durable).await;
        }
        let durable = *self.durable.borrow_and_update();
        // What is written from now on may be of this SPU's own lead, and is not what the leader meant.
        if self.over.is_cancelled() {
            return None;
        }
        while !self.kept && epoch_start.is_some_and(|start| durable >= start) {
            match self.spu.wholes.are([self.whole]).await {
                Ok(()) => self.kept = true,
                Err(error) => {
                    tracing::error!(%error, "a copy cannot keep that it is whole, and acknowledges nothing");
                    sleep(PAUSES.1).await;
                }
            }
        }
        self.said = true;
        Some(durable)
    }
}
