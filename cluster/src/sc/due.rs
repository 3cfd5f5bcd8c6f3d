//! What the SC does by the clock.

use tokio::time::Instant;

/// When it is due; `None` while nothing is.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// An SC without a disk goes on without the SPUs that have not come.
    pub(super) give_up_waiting: Option<Instant>,
    /// The system topic is made again.
    pub(super) system_topic: Option<Instant>,
    /// The system topic waits no longer for the first SPU.
    pub(super) first_spu: Option<Instant>,
    /// SPUs that have not come since the start are taken for away.
    pub(super) late: Option<Instant>,
    /// No SPU has come or gone for a while.
    pub(super) calm: Option<Instant>,
    /// An SPU has been away for so long that its copies are made again elsewhere.
    pub(super) lost: Option<Instant>,
    /// What the SC decided by itself could not be kept, and is decided again.
    pub(super) again: Option<Instant>,
}

impl Due {
    /// The next of them.
    pub(super) fn next(&self) -> Option<Instant> {
        let starting = [self.give_up_waiting, self.system_topic, self.first_spu, self.late];
        starting.into_iter().chain([self.calm, self.lost, self.again]).flatten().min()
    }
}

/// Whether it is due now, and then no more.
pub(super) fn take_due(due: &mut Option<Instant>, now: Instant) -> bool {
    due.take_if(|due| *due <= now).is_some()
}
