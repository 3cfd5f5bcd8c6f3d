//! Looks for what the disk did not keep, and mends it from another copy.
//!
//! Every segment is read through once in a period, one after the other at a bounded rate, and each batch checked
//! ([`due`] decides which is next). A reader who meets damage has it mended at once. Either way the damage is mended
//! in place ([`mend`]): the same batches are fetched from the leader or from any other copy, verified, and the
//! segment written anew; nothing is cut off, so the copy stays in sync all the while. What no copy can give stays
//! as it is: reading there fails, everything else is served, and metrics and health say so.

mod due;
mod known;
mod mend;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster_storage::{Damage, Partition};
use tokio::time::{Instant, sleep_until};

use super::{Replica, Spu};
use crate::config::ScrubConfig;
use due::{Calendar, Next, SegmentId};
use known::Known;

/// Bytes looked at without a pause.
const STEP: u64 = 1 << 20;

/// New segments are noticed this late.
const LOOK_AGAIN: u64 = 60_000;

/// What one SPU knows of damage on its disk.
#[derive(Debug)]
pub(super) struct Scrub {
    calendar: Calendar,
    bytes_per_second: u64,
    known: Mutex<Known>,
    /// One segment is written anew at a time.
    mending: tokio::sync::Mutex<()>,
}

impl Scrub {
    pub(super) fn new(config: ScrubConfig, spu: &str) -> Self {
        let period = config.period_seconds.saturating_mul(1_000).max(1);
        Self {
            calendar: Calendar { began: now(), period, spu: spu.to_owned() },
            bytes_per_second: config.bytes_per_second.max(1),
            known: Mutex::default(),
            mending: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that so many bytes take.
    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second)
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn segment_of(replica: &Replica, base: i64) -> SegmentId {
    SegmentId { topic_id: replica.assignment.topic_id, partition: replica.assignment.key.partition, base }
}

/// A segment and where it is.
type Found = (Arc<Replica>, Partition);

impl Spu {
    /// Goes through the segments until stopped.
    pub(super) async fn keep_scrubbing(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.scrub_next() => {}
            }
        }
    }

    /// One thing that is due, or a wait for it.
    async fn scrub_next(self: &Arc<Self>) {
        let segments = self.segments();
        let (next, retry) = {
            let mut known = self.scrub.known();
            known.keep(&segments.keys().cloned().collect::<BTreeSet<_>>());
            self.count_damage(&known);
            let looked = segments.keys().map(|id| (id.clone(), known.looked(id)));
            (self.scrub.calendar.next(looked, now()), known.retry(now()))
        };
        let found = |id: &SegmentId| segments.get(id).cloned();
        match (next, retry) {
            (_, Ok((id, from))) => {
                if let Some((replica, log)) = found(&id) {
                    let one_at_a_time = self.scrub.mending.lock().await;
                    self.mend_now(&one_at_a_time, &id, (&replica, &log), from).await;
                }
            }
            (Next::Look(id), _) => {
                if let Some((replica, log)) = found(&id) {
                    self.scrub_segment(&id, &replica, &log).await;
                }
            }
            (Next::Wait(turn), Err(retry)) => {
                let wait = turn.into_iter().chain(retry).min().unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
                sleep_until(Instant::now() + Duration::from_millis(wait)).await;
            }
        }
    }

    /// Every segment of every copy on this disk.
    fn segments(&self) -> BTreeMap<SegmentId, Found> {
        let mut segments = BTreeMap::new();
        for replica in self.replicas.all() {
            let Ok(log) = &replica.log else { continue };
            for base in log.segments() {
                segments.insert(segment_of(&replica, base), (Arc::clone(&replica), log.clone()));
            }
        }
        segments
    }

    /// Reads a segment through, and mends what is damaged.
    async fn scrub_segment(self: &Arc<Self>, id: &SegmentId, replica: &Arc<Replica>, log: &Partition) {
        self.scrub.known().look(id, now());
        let (mut at, mut damage) = (id.base, BTreeMap::<i64, Damage>::new());
        loop {
            let begun = Instant::now();
            // An error says that the segment or the partition is gone by now, or that its disk is.
            let Ok(seen) = log.scrub(at, STEP).await else { return };
            self.usage.scrubbed_bytes.add(seen.bytes);
            damage.extend(seen.damage.into_iter().map(|damage| (damage.from, damage)));
            if seen.ended {
                break;
            }
            at = seen.next_offset;
            sleep_until(begun + self.scrub.time_for(seen.bytes)).await;
        }
        let damage: Vec<Damage> = damage.into_values().collect();
        self.scrub.known().found(id, &damage);
        self.count_damage(&self.scrub.known());
        if !damage.is_empty() {
            let one_at_a_time = self.scrub.mending.lock().await;
            self.mend(&one_at_a_time, replica, log, damage).await;
        }
    }

    /// Tells the SC how a copy stands.
    pub(super) fn report(&self, replica: &Replica) {
        let damaged = self.scrub.known().n_places_of(&segment_of(replica, 0));
        let to_lead = Some(replica.assignment.leader) == self.id();
        let lost_lead = to_lead && !self.bygone.may_lead(&replica.assignment);
        self.link.report(replica.report(damaged as u64, self.wholes.of(replica.id()), lost_lead));
    }

    fn count_damage(&self, known: &Known) {
        self.usage.damaged.set(known.n_places() as u64);
    }
}
