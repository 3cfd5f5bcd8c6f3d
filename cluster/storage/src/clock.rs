//! The narrow seam to the wall clock.
//!
//! Only retention and append times look at it; nothing that decides about durability does. Behind a trait so
//! that a test can move the hands.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the wall time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        // A clock before 1970 counts as 1970: retention then deletes nothing, which is the safe side.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock whose hands are moved by a test.
#[cfg(test)]
pub(crate) struct ManualClock(pub(crate) std::sync::atomic::AtomicI64);

#[cfg(test)]
impl ManualClock {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
