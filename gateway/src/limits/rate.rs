//! A leaky bucket in one number: the moment at which it will be empty.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const NANOS: u64 = 1_000_000_000;

/// The zero of all buckets.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a bucket lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a rest.
    pub burst: u32,
}

/// A bucket; all zero is empty.
#[derive(Debug, Default)]
pub struct RateBucket(AtomicU64);

/// Nanoseconds since the first use of any bucket.
pub(super) fn ticks(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*START).as_nanos()).unwrap_or(u64::MAX)
}

impl Rate {
    /// One more into a bucket that is empty at `empty_at`: when it is empty then, or `None` if it overflows.
    pub(super) fn add(self, empty_at: u64, now: u64) -> Option<u64> {
        let one = NANOS / u64::from(self.per_second.max(1));
        let room = one.saturating_mul(u64::from(self.burst));
        let next = empty_at.max(now).saturating_add(one);
        (next - now <= room).then_some(next)
    }
}

impl RateBucket {
    /// Lets one more through, or not.
    pub fn admit(&self, rate: Rate, now: Instant) -> bool {
        let now = ticks(now);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| rate.add(at, now)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_and_a_rest_gives_the_burst_back() {
        let rate = Rate { per_second: 10, burst: 3 };
        let mut at = 0;
        let mut admitted = |now_ms: u64| match rate.add(at, now_ms * 1_000_000) {
            Some(next) => {
                at = next;
                true
            }
            None => false,
        };
        let steps = [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (99, false),
            (100, true),
            (150, false),
            (200, true),
            (5_000, true),
            (5_000, true),
            (5_000, true),
            (5_000, false),
        ];
        for (step, (now, expected)) in steps.into_iter().enumerate() {
            assert_eq!(admitted(now), expected, "step {step} at {now} ms");
        }
    }
}
