//! The leader's side of its copies: keeps the high-water mark, and asks the SC when another set is in sync.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_storage::{Partition, State};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::leading::{Ends, Leading};
use crate::link::{Assignment, PartitionKey, SpuLink};
use crate::sc::decide::InSyncAsked;
use crate::spu::{Replica, changed};

/// How often it looks who lags.
const PERIOD: Duration = Duration::from_millis(500);

/// How long a new leader may take to learn how far its predecessor had committed.
const MARK_PATIENCE: Duration = Duration::from_secs(5);

/// One partition that this SPU leads and others follow, in one epoch.
#[derive(Debug)]
pub(in crate::spu) struct Lead {
    pub(super) key: PartitionKey,
    pub(super) topic_id: Uuid,
    pub(super) epoch: u32,
    pub(super) log: Partition,
    leading: Mutex<Leading>,
    link: SpuLink,
    /// Told when the log takes nothing any more.
    failed: Arc<Notify>,
    /// Version of the copies that the SC told last.
    told: watch::Sender<u32>,
    begin: Instant,
    over: CancellationToken,
}

impl Lead {
    /// Ends when this SPU does not lead the partition any more, or leads it in another epoch.
    pub(in crate::spu) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Where this epoch's records begin.
    pub(super) fn epoch_start(&self) -> i64 {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner).epoch_start()
    }

    /// Waits, for a bounded time, until it is known how far the leader before had committed (what was there when this
    /// one began is), and says whether it is.
    pub(in crate::spu) async fn mark_is_known(&self) -> bool {
        let begin = self.epoch_start();
        let mut hw = self.log.watch_hw();
        let known = async {
            while *hw.borrow_and_update() < begin {
                changed(&mut hw).await;
            }
        };
        timeout(MARK_PATIENCE, known).await.is_ok()
    }

    /// Whether this SPU has a copy, as far as is known here.
    pub(super) fn knows(&self, spu: i32) -> bool {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner).knows(spu)
    }

    /// Whether this SPU's copy is one that was added to move there, and is not waited for yet.
    pub(super) fn adds(&self, spu: i32) -> bool {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner).adds(spu)
    }

    /// Returns when a stream to a copy does not count any more.
    pub(super) async fn feeds_no_more(&self, spu: i32, feed: u64) {
        let mut told = self.told.subscribe();
        while self.leading.lock().unwrap_or_else(PoisonError::into_inner).feeds(spu, feed) {
            changed(&mut told).await;
        }
    }

    /// Says what happened, and does what follows from it.
    pub(super) fn tell(&self, news: impl FnOnce(&mut Leading, u64)) {
        let now_ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (committed, asked) = {
            let mut leading = self.leading.lock().unwrap_or_else(PoisonError::into_inner);
            leading.moved(ends(&self.log), now_ms);
            news(&mut leading, now_ms);
            (leading.committed(), leading.ask(now_ms))
        };
        self.log.commit(committed);
        if let Some(wanted) = asked {
            let (key, topic_id, epoch) = (self.key.clone(), self.topic_id, self.epoch);
            self.link.ask_in_sync(InSyncAsked { key, topic_id, epoch, wanted });
        }
    }

    async fn keep_up(self: Arc<Self>) {
        let (mut leo, mut durable) = (self.log.watch_leo(), self.log.watch_durable());
        let mut ticks = interval(PERIOD);
        let fails = async {
            let mut state = self.log.watch_state();
            if state.wait_for(|state| *state != State::Open).await.is_ok() {
                self.failed.notify_one();
            }
            std::future::pending::<()>().await;
        };
        tokio::pin!(fails);
        loop {
            tokio::select! {
                () = self.over.cancelled() => return,
                () = &mut fails => {}
                () = changed(&mut leo) => {}
                () = changed(&mut durable) => {}
                _ = ticks.tick() => {}
            }
            self.tell(|_, _| {});
        }
    }
}

fn ends(log: &Partition) -> Ends {
    // Before the log's end, so that it is never beyond it.
    let durable = *log.watch_durable().borrow();
    let offsets = log.offsets();
    Ends { leo: offsets.leo, durable, hw: offsets.hw }
}

/// All that this SPU leads and others follow.
#[derive(Debug, Default)]
pub(in crate::spu) struct Leads {
    by_key: Mutex<HashMap<PartitionKey, (Arc<Lead>, DropGuard)>>,
    failed: Arc<Notify>,
}

impl Leads {
    /// The lead of this partition.
    pub(in crate::spu) fn get(&self, key: &PartitionKey) -> Option<Arc<Lead>> {
        self.lock().get(key).map(|(lead, _)| Arc::clone(lead))
    }

    /// Returns when the log of one of them takes nothing any more.
    pub(in crate::spu) async fn one_failed(&self) {
        self.failed.notified().await;
    }

    /// Ends those that do not go on: before this SPU follows anybody in their place, since what it takes in then is no
    /// acknowledgement of what it led.
    pub(in crate::spu) fn end_unless(&self, goes_on: impl Fn(&PartitionKey, &Lead) -> bool) {
        self.lock().retain(|key, (lead, _)| goes_on(key, lead));
    }

    /// Makes them what the replicas say: new ones begin, others end, and those that go on hear which copies are in
    /// sync.
    pub(in crate::spu) fn follow(&self, own: i32, replicas: &[Arc<Replica>], link: &SpuLink) {
        let mut next = HashMap::new();
        let mut known = self.lock();
        for replica in replicas.iter().filter(|replica| replica.leads && replica.has_copies()) {
            let (Ok(log), assignment) = (&replica.log, &replica.assignment) else { continue };
            let same = known
                .remove(&assignment.key)
                .filter(|(lead, _)| lead.is_of(assignment) && lead.log.is_same(log));
            let lead = same.unwrap_or_else(|| self.begin(own, assignment, log.clone(), link.clone()));
            lead.0.tell(|leading, now_ms| leading.told(assignment, now_ms));
            lead.0.told.send_replace(assignment.in_sync.version);
            next.insert(assignment.key.clone(), lead);
        }
        *known = next;
    }

    fn begin(
        &self,
        own: i32,
        assignment: &Assignment,
        log: Partition,
        link: SpuLink,
    ) -> (Arc<Lead>, DropGuard) {
        let over = CancellationToken::new();
        let leading = Leading::new(own, assignment, ends(&log), 0);
        let lead = Arc::new(Lead {
            key: assignment.key.clone(),
            topic_id: assignment.topic_id,
            epoch: assignment.epoch,
            log,
            leading: Mutex::new(leading),
            link,
            failed: Arc::clone(&self.failed),
            told: watch::Sender::new(assignment.in_sync.version),
            begin: Instant::now(),
            over: over.clone(),
        });
        tokio::spawn(Arc::clone(&lead).keep_up());
        (lead, over.drop_guard())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PartitionKey, (Arc<Lead>, DropGuard)>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Whether it is the lead of this assignment.
    pub(in crate::spu) fn is_of(&self, assignment: &Assignment) -> bool {
        (self.topic_id, self.epoch) == (assignment.topic_id, assignment.epoch)
    }
}
