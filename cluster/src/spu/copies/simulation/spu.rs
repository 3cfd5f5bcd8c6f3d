//! One SPU: its copy, what the SC told it, and whom it leads or follows.

use super::copy::{Copy, Failed};
use super::sc::Word;
use crate::link::{Assignment, DurableEnd, ReplicaReport, ReplicaState};
use crate::sc::metadata::NOBODY;
use crate::spu::bygone::Bygone;
use crate::spu::copies::leading::Leading;

/// What of a report decides anything.
pub(super) type Said = (u32, ReplicaState, bool, Option<DurableEnd>);

#[derive(Debug)]
pub(super) struct Spu {
    pub(super) id: i32,
    pub(super) alive: bool,
    pub(super) paused: bool,
    pub(super) copy: Copy,
    /// The last epoch whose leader's first records it has all, kept on disk before it says so.
    whole: Option<u32>,
    /// Kept on disk before the SC hears that it is followed.
    pub(super) assignment: Option<Assignment>,
    /// Whether all of it is done; else it is tried again.
    applied: bool,
    /// In which epochs it leads no more.
    bygone: Bygone,
    /// What the SC heard last on this link of how it stands.
    pub(super) said: Option<Said>,
    /// Whether the SC has answered this process: until then it says that it is a new one.
    pub(super) welcomed: bool,
    pub(super) lead: Option<Leading>,
    /// Numbers of the SC's link and of the stream from the leader that are its own now.
    pub(super) link: Option<u64>,
    pub(super) feed: Option<u64>,
}

impl Spu {
    pub(super) fn new(id: i32, seed: u64) -> Self {
        let mut spu = Self {
            id,
            alive: false,
            paused: false,
            copy: Copy::new(seed),
            whole: None,
            assignment: None,
            applied: true,
            bygone: Bygone::of(None),
            said: None,
            welcomed: false,
            lead: None,
            link: None,
            feed: None,
        };
        spu.start();
        spu
    }

    pub(super) fn acts(&self) -> bool {
        self.alive && !self.paused
    }

    pub(super) fn epoch(&self) -> Option<u32> {
        self.assignment.as_ref().map(|assignment| assignment.epoch)
    }

    /// The epoch that its log is open for.
    fn log_epoch(&self) -> u32 {
        self.epoch().unwrap_or_default()
    }

    /// How it stands, if the SC has not heard that yet.
    pub(super) fn report(&mut self) -> Option<ReplicaReport> {
        let report = self.stands()?;
        let said = (report.epoch, report.state, report.lost_lead, report.durable);
        (self.said.replace(said) != Some(said)).then_some(report)
    }

    fn stands(&self) -> Option<ReplicaReport> {
        let assignment = self.assignment.as_ref()?;
        let ends = self.copy.ends();
        let whole = self.whole.and_then(|epoch| i32::try_from(epoch).ok());
        Some(ReplicaReport {
            key: assignment.key.clone(),
            topic_id: assignment.topic_id,
            epoch: assignment.epoch,
            state: if self.copy.is_writable() { ReplicaState::Online } else { ReplicaState::Failed },
            lost_lead: assignment.leader == self.id && !self.bygone.may_lead(assignment),
            base_offset: 0,
            high_watermark: ends.hw,
            log_end: ends.leo,
            size: 0,
            damaged: 0,
            durable: (assignment.leader == NOBODY).then(|| DurableEnd {
                epoch: self.copy.epoch_before(ends.durable).max(whole),
                offset: ends.durable,
            }),
        })
    }

    /// Dies, and the power goes with it: of what was not synced any part may be there afterwards.
    pub(super) fn crash(&mut self) {
        self.copy.cut_power();
        (self.alive, self.paused) = (false, false);
        (self.lead, self.link, self.feed) = (None, None, None);
        (self.assignment, self.whole) = self.copy.kept();
    }

    /// Another disk is in its place, with nothing on it.
    pub(super) fn lose_disk(&mut self, seed: u64) {
        self.copy.lose_disk(seed);
        (self.assignment, self.whole) = (None, None);
    }

    /// A new process, unless it cannot open its log.
    pub(super) fn start(&mut self) {
        self.alive = self.copy.open(self.log_epoch()).is_ok();
        self.bygone = Bygone::of(&self.assignment);
        (self.welcomed, self.applied) = (false, true);
    }

    /// It has all that the leader of this epoch began with.
    pub(super) fn is_whole(&mut self, epoch: u32) -> Result<(), Failed> {
        if self.whole.is_none_or(|known| known < epoch) {
            self.copy.keep_whole(Some(epoch))?;
            self.whole = Some(epoch);
        }
        Ok(())
    }

    /// Takes the SC's word. An older one than it has is of a former link.
    pub(super) fn take(&mut self, word: &Word, now_ms: u64) -> Result<(), Failed> {
        self.welcomed = true;
        let Some(told) = word.assignment.clone() else {
            (self.lead, self.feed, self.assignment, self.applied) = (None, None, None, true);
            self.copy.keep(None)?;
            return if word.dropped { self.drop_copy() } else { Ok(()) };
        };
        let known = self.assignment.as_ref().map(|known| (known.epoch, known.in_sync.version));
        if known.is_some_and(|known| (told.epoch, told.in_sync.version) < known) {
            return Ok(());
        }
        if self.epoch() != Some(told.epoch) {
            (self.lead, self.feed) = (None, None);
        }
        self.copy.configure(told.epoch);
        self.assignment = Some(told);
        self.apply(now_ms)
    }

    fn drop_copy(&mut self) -> Result<(), Failed> {
        // First: another copy in its place is whole of nothing.
        self.copy.keep_whole(None)?;
        self.whole = None;
        self.copy.remove(0)
    }

    /// Does what the SC told; again, where it could not all be done.
    fn apply(&mut self, now_ms: u64) -> Result<(), Failed> {
        let Some(told) = self.assignment.clone() else { return Ok(()) };
        self.applied = false;
        let kept = self.copy.keep(Some(&told));
        if told.leader == self.id && self.bygone.may_lead(&told) && self.lead.is_none() {
            self.is_whole(told.epoch)?;
            self.lead = Some(Leading::new(self.id, &told, self.copy.ends(), now_ms));
        }
        if let Some(lead) = &mut self.lead {
            lead.told(&told, now_ms);
        }
        kept?;
        self.applied = true;
        Ok(())
    }

    /// What it does every now and then: opens a log again that failed, and does what could not be done before. Says
    /// whether the log was opened again: whatever went on with it is over then.
    pub(super) fn keep_house(&mut self, forgotten: bool, now_ms: u64) -> Result<bool, Failed> {
        let reopened = !self.copy.is_writable();
        if reopened {
            if let Some(assignment) = &self.assignment {
                self.bygone.add(assignment);
            }
            self.copy.open_again(self.log_epoch(), forgotten)?;
            (self.lead, self.feed) = (None, None);
        }
        if reopened || !self.applied {
            self.apply(now_ms)?;
        }
        Ok(reopened)
    }
}
