//! What a leader sends to a copy: batches as soon as they are written, so that both sync them at the same time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_storage::batch::Header;
use cluster_storage::{Isolation, ReadError};
use futures_util::{StreamExt, stream};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::answer::{Facts, objection};
use super::lead::Lead;
use crate::peer::{Ack, Fed, Follow, Parcels, Reply, only, parts};
use crate::spu::{Spu, changed};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// A mark that moves without new batches is told this late, since it only matters after a change of leader.
const MARK_PAUSE: Duration = Duration::from_millis(20);

/// One copy that is fed.
struct Feed {
    from: Arc<Spu>,
    lead: Arc<Lead>,
    spu: i32,
    number: u64,
    position: i64,
    /// Before it the copy takes its turn with others that move.
    held_back_to: i64,
    told_hw: i64,
    ended: bool,
    _acks: AbortOnDropHandle<()>,
}

impl Spu {
    /// Answers a copy that wants to follow.
    pub(in crate::spu) fn feed(self: &Arc<Self>, follow: Follow, acks: Parcels) -> Reply {
        let lead = self.leads.get(&follow.placed.key);
        let lead = lead.filter(|lead| (lead.topic_id, lead.epoch) == (follow.placed.topic_id, follow.epoch));
        // A copy that was added may hear of it before its leader does, and asks again.
        let lead = lead.filter(|lead| lead.knows(follow.spu));
        let Some(lead) = lead else { return only(&Fed::NotLeader, Bytes::new()) };
        let offsets = lead.log.offsets();
        let facts = Facts {
            log_start: offsets.log_start,
            leo: offsets.leo,
            epoch_before: lead.log.epoch_before(follow.position),
            end_of_epoch: follow.last_epoch.and_then(|epoch| lead.log.end_of_epoch(epoch)),
        };
        if let Some(objection) = objection(&follow, &facts) {
            tracing::info!(partition = %follow.placed.key, spu = follow.spu, ?objection, "a copy differs");
            return only(&objection, Bytes::new());
        }
        let counts = CountsAsFed::begin(Arc::clone(&lead), follow.spu);
        let (spu, number) = (follow.spu, counts.feed);
        let heard = AbortOnDropHandle::new(tokio::spawn(hear(counts, acks)));
        let feed = Feed {
            // What comes in meanwhile is not held back, or a busy partition would never have moved.
            held_back_to: if lead.adds(spu) { offsets.leo } else { 0 },
            from: Arc::clone(self),
            lead,
            spu,
            number,
            position: follow.position,
            told_hw: -1,
            ended: false,
            _acks: heard,
        };
        stream::unfold(feed, |mut feed| async move {
            let parts = feed.next().await?;
            Some((stream::iter(parts), feed))
        })
        .flatten()
        .boxed()
    }
}

/// Hears how far the copy is, until it goes.
async fn hear(fed: CountsAsFed, mut acks: Parcels) {
    while let Ok(Some(ack)) = acks.next::<Ack>().await {
        let durable = ack.head.durable;
        fed.lead.tell(|leading, now_ms| leading.heard(fed.spu, fed.feed, durable, now_ms));
    }
}

/// The copy counts as fed while this lives, however it ends.
struct CountsAsFed {
    lead: Arc<Lead>,
    spu: i32,
    feed: u64,
}

impl CountsAsFed {
    fn begin(lead: Arc<Lead>, spu: i32) -> Self {
        let mut feed = 0;
        lead.tell(|leading, now_ms| feed = leading.begin_feed(spu, now_ms));
        Self { lead, spu, feed }
    }
}

impl Drop for CountsAsFed {
    fn drop(&mut self) {
        self.lead.tell(|leading, _| leading.end_feed(self.spu, self.feed));
    }
}

impl Feed {
    /// The next parcel, in parts; `None` when there is no more to come.
    async fn next(&mut self) -> Option<Vec<Bytes>> {
        if self.ended {
            return None;
        }
        let lead = Arc::clone(&self.lead);
        let (over, spu, number) = (lead.over(), self.spu, self.number);
        let fed = tokio::select! {
            fed = self.read() => fed,
            () = over.cancelled() => Err(Fed::NotLeader),
            () = lead.feeds_no_more(spu, number) => Err(Fed::NotLeader),
        };
        let (head, payload) = match fed {
            Ok((hw, payload)) => {
                let log_start = self.lead.log.offsets().log_start;
                let epoch_start = Some(self.lead.epoch_start());
                (Fed::Batches { hw, log_start, epoch_start }, payload)
            }
            Err(last) => {
                self.ended = true;
                (last, Bytes::new())
            }
        };
        Some(parts(&head, payload).ok()?.collect())
    }

    async fn read(&mut self) -> Result<(i64, Bytes), Fed> {
        let (mut leo, mut hw) = (self.lead.log.watch_leo(), self.lead.log.watch_hw());
        loop {
            let (end, mark) = (*leo.borrow_and_update(), *hw.borrow_and_update());
            if end > self.position {
                let payload = self.batches().await?;
                self.told_hw = mark;
                return Ok((mark, payload));
            }
            let tell_mark = async {
                if mark == self.told_hw {
                    changed(&mut hw).await;
                }
                // The first tells where the epoch begins, and nothing is acknowledged before.
                if self.told_hw >= 0 {
                    sleep(MARK_PAUSE).await;
                }
            };
            tokio::select! {
                () = changed(&mut leo) => {}
                () = tell_mark => {
                    self.told_hw = self.lead.log.offsets().hw;
                    return Ok((self.told_hw, Bytes::new()));
                }
            }
        }
    }

    /// Batches of one epoch from the copy's position on.
    async fn batches(&mut self) -> Result<Bytes, Fed> {
        let (lead, wanted) = (&self.lead, (self.position, READ_BYTES, Isolation::Uncommitted));
        let read = self.from.read_whole(&lead.key, &lead.log, wanted).await;
        let slice = read.map_err(|error| match error {
            ReadError::Evicted { next } => Fed::TooOld { log_start: next },
            error => {
                tracing::warn!(partition = %self.lead.key, %error, "a copy cannot be fed");
                Fed::NotLeader
            }
        })?;
        let (bytes, next) = of_one_epoch(slice.bytes);
        if self.position < self.held_back_to {
            self.from.moves.take_turn(bytes.len()).await;
        }
        self.position = next.unwrap_or(self.position);
        Ok(bytes)
    }
}

/// The batches at the start that are of one epoch, and the offset behind them.
pub(super) fn of_one_epoch(bytes: Bytes) -> (Bytes, Option<i64>) {
    let (mut at, mut epoch, mut next) = (0, None, None);
    while let Ok(header) = Header::parse(&bytes[at..]) {
        if epoch.is_some_and(|epoch| epoch != header.leader_epoch) {
            break;
        }
        (epoch, next) = (Some(header.leader_epoch), header.next_offset());
        at += header.total_bytes;
        if at >= bytes.len() {
            break;
        }
    }
    (bytes.slice(..at.min(bytes.len())), next)
}
