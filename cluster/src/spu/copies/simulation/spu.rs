//! One SPU: a log of which an end may be unsynced, what the SC told it, and whom it leads or follows.

use super::sc::Word;
use crate::link::{Assignment, DurableEnd, ReplicaReport, ReplicaState};
use crate::sc::metadata::NOBODY;
use crate::spu::copies::leading::{Ends, Leading};

/// One record, told apart by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) epoch: i32,
    pub(super) number: u64,
}

#[derive(Debug)]
pub(super) struct Spu {
    pub(super) id: i32,
    pub(super) alive: bool,
    pub(super) paused: bool,
    pub(super) log: Vec<Record>,
    /// How many of them survive a crash.
    pub(super) synced: usize,
    pub(super) hw: i64,
    /// The last epoch whose leader's first records it has all, kept on disk before it says so.
    pub(super) whole: Option<i32>,
    /// Kept on disk before anything is done about it.
    pub(super) assignment: Option<Assignment>,
    /// Epoch of what was on disk when the process began.
    pub(super) started_with: Option<u32>,
    /// Whether the SC has answered this process: until then it says that it is a new one.
    pub(super) welcomed: bool,
    pub(super) lead: Option<Leading>,
    /// Numbers of the SC's link and of the stream from the leader that are its own now.
    pub(super) link: Option<u64>,
    pub(super) feed: Option<u64>,
}

impl Spu {
    pub(super) fn new(id: i32) -> Self {
        Self {
            id,
            alive: true,
            paused: false,
            log: Vec::new(),
            synced: 0,
            hw: 0,
            whole: None,
            assignment: None,
            started_with: None,
            welcomed: false,
            lead: None,
            link: None,
            feed: None,
        }
    }

    pub(super) fn acts(&self) -> bool {
        self.alive && !self.paused
    }

    pub(super) fn ends(&self) -> Ends {
        Ends { leo: self.leo(), durable: offset(self.synced), hw: self.hw }
    }

    pub(super) fn leo(&self) -> i64 {
        offset(self.log.len())
    }

    pub(super) fn epoch(&self) -> Option<u32> {
        self.assignment.as_ref().map(|assignment| assignment.epoch)
    }

    pub(super) fn epoch_before(&self, position: i64) -> Option<i32> {
        let before = usize::try_from(position).ok()?.checked_sub(1)?;
        self.log.get(before).map(|record| record.epoch)
    }

    /// How it stands, while that decides who leads.
    pub(super) fn report(&self) -> Option<ReplicaReport> {
        let assignment = self.assignment.as_ref().filter(|assignment| assignment.leader == NOBODY)?;
        let offset = offset(self.synced);
        Some(ReplicaReport {
            key: assignment.key.clone(),
            topic_id: assignment.topic_id,
            epoch: assignment.epoch,
            state: ReplicaState::Online,
            base_offset: 0,
            high_watermark: self.hw,
            log_end: self.leo(),
            size: 0,
            damaged: 0,
            durable: Some(DurableEnd { epoch: self.epoch_before(offset).max(self.whole), offset }),
        })
    }

    pub(super) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let last = self.log.iter().rposition(|record| record.epoch <= epoch)?;
        Some((self.log[last].epoch, offset(last + 1)))
    }

    /// Dies; what was not synced may be there afterwards or not, but never with a hole.
    pub(super) fn crash(&mut self, kept_of_the_rest: usize) {
        let kept = (self.synced + kept_of_the_rest).min(self.log.len());
        self.log.truncate(kept);
        (self.alive, self.paused) = (false, false);
        (self.lead, self.link, self.feed) = (None, None, None);
        // Written down now and then, never ahead.
        self.hw = self.hw.min(offset(kept)) / 2;
    }

    /// Another disk is in its place, with nothing on it.
    pub(super) fn lose_disk(&mut self) {
        self.log.clear();
        (self.synced, self.hw, self.whole, self.assignment) = (0, 0, None, None);
    }

    pub(super) fn start(&mut self) {
        self.alive = true;
        self.synced = self.log.len();
        self.started_with = self.epoch();
        self.welcomed = false;
    }

    /// It has all that the leader of this epoch began with.
    pub(super) fn is_whole(&mut self, epoch: u32) {
        self.whole = self.whole.max(i32::try_from(epoch).ok());
    }

    /// Takes the SC's word. An older one than it has is of a former link.
    pub(super) fn take(&mut self, word: Word, now_ms: u64) {
        self.welcomed = true;
        let Some(told) = word.assignment else {
            (self.lead, self.feed, self.assignment) = (None, None, None);
            if word.dropped {
                self.lose_disk();
            }
            return;
        };
        if self
            .assignment
            .as_ref()
            .is_some_and(|known| (told.epoch, told.in_sync.version) < (known.epoch, known.in_sync.version))
        {
            return;
        }
        let new_epoch = self.epoch() != Some(told.epoch);
        if new_epoch {
            (self.lead, self.feed) = (None, None);
        }
        let may_lead = told.leader == self.id && self.started_with.is_none_or(|epoch| epoch < told.epoch);
        if may_lead && self.lead.is_none() {
            self.is_whole(told.epoch);
            self.lead = Some(Leading::new(self.id, &told, self.ends(), now_ms));
        }
        if let Some(lead) = &mut self.lead {
            lead.told(&told, now_ms);
        }
        self.assignment = Some(told);
    }
}

pub(super) fn offset(at: usize) -> i64 {
    i64::try_from(at).unwrap()
}
