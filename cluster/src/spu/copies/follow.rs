//! The follower's side: takes in what its leader sends, cuts back what its leader never had, and says how far it
//! is durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster_storage::batch::{self, Limits};
use cluster_storage::{AppendError, Partition, Ticket, TruncateError};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use tokio_stream::wrappers::WatchStream;
use tokio_util::task::AbortOnDropHandle;

use super::answer::cut_to;
use crate::link::{Assignment, PartitionKey};
use crate::peer::{Ack, Ask, Fed, Follow, Parcel, ParcelError, PeerError, Placed, encode};
use crate::spu::{Replica, Spu};

/// First and longest pause before asking again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Batches in a parcel: what a leader stored is taken as it is.
const LIMITS: Limits = Limits { batch_bytes: 128 << 20, batches: usize::MAX };

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
                let (assignment, log) = (assignment.clone(), log.clone());
                let follower = Follower { spu: Arc::clone(spu), own, assignment, log };
                let (assignment, log) = (follower.assignment.clone(), follower.log.clone());
                let task = AbortOnDropHandle::new(tokio::spawn(follower.keep_up()));
                Followed { assignment, log, task }
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
        let position = self.log.offsets().leo;
        let follow = Follow {
            spu: self.own,
            placed: Placed { key: self.assignment.key.clone(), topic_id: self.assignment.topic_id },
            epoch: self.assignment.epoch,
            position,
            last_epoch: self.log.epoch_before(position),
        };
        let acks = WatchStream::new(self.log.watch_durable())
            .filter_map(|durable| std::future::ready(encode(&Ack { durable }, 0).ok()));
        let (leader, ask) = (self.assignment.leader, Ask::Follow(follow));
        let mut fed = self.spu.peers.ask(leader, &ask, Bytes::new(), acks).await?;
        let mut tickets: FuturesUnordered<Ticket> = FuturesUnordered::new();
        loop {
            tokio::select! {
                parcel = fed.next::<Fed>() => {
                    let parcel = parcel?.ok_or(ParcelError::Cut)?;
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
            Fed::Batches { hw, log_start } => {
                let ticket = match parcel.payload.is_empty() {
                    true => None,
                    false => Some(self.log.enqueue_copy(batch::split(&parcel.payload, LIMITS)?).await?),
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
