//! How fast copies that move are fed, all of one SPU together: they are in nobody's way, and nobody waits for them.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// So many bytes a second, in the order in which they are asked for.
#[derive(Debug)]
pub(in crate::spu) struct Pace {
    bytes_per_second: NonZeroU64,
    /// When what was let through before will have had its time.
    free: Mutex<Option<Instant>>,
}

impl Pace {
    pub(in crate::spu) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, free: Mutex::default() }
    }

    /// Returns when so many bytes may go.
    pub(super) async fn take_turn(&self, bytes: usize) {
        sleep_until(self.turn(bytes, Instant::now())).await;
    }

    fn turn(&self, bytes: usize, now: Instant) -> Instant {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = free.unwrap_or(now).max(now);
        *free = Some(turn + Duration::from_micros(micros));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_for_what_went_before_it_and_idle_time_is_not_saved_up() {
        let (pace, begin) = (Pace::new(NonZeroU64::new(1_000).unwrap()), Instant::now());
        let after = |millis| begin + Duration::from_millis(millis);
        for (bytes, now, turn) in
            [(500, 0, 0), (1_000, 0, 500), (100, 700, 1_500), (1, 9_000, 9_000), (0, 9_000, 9_001)]
        {
            assert_eq!(pace.turn(bytes, after(now)), after(turn), "{bytes} bytes at {now} ms");
        }
    }
}
