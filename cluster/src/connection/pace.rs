//! How fast clients may go: whoever is too fast is made to wait, and nothing fails.
//!
//! What was read or written is counted, and the next frame waits until the rates allow what has passed. While a
//! connection is not read its client is held back by TCP; while it is not written to its outbox fills, and whoever has
//! more to send waits there. So a wait costs no memory beyond that. One principal's connections share its
//! buckets, all connections the cluster's.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_settings::Rates;
use tokio::time::{Instant, sleep_until};

use crate::access::PolicyWatch;
use crate::usage::{Counter, PrincipalUsage, Throttled, Usage};

/// What one frame costs at most, in seconds of its rate: a bound for the wait behind a large frame at a low rate, which a
/// client could take for a dead server's.
const LONGEST_SECONDS: u64 = 60;

/// A second's worth of something, which comes back evenly. What is taken on top is a debt.
#[derive(Debug)]
struct Bucket {
    per_second: NonZeroU64,
    /// What has not come back yet, in billionths.
    taken: u128,
    as_of: Instant,
}

impl Bucket {
    fn full(per_second: NonZeroU64, now: Instant) -> Self {
        Self { per_second, taken: 0, as_of: now }
    }

    /// Takes `n`, and says after how long the debt is paid. Who takes nothing more until then takes, in any time, no more
    /// than a second's worth, the rate times that time, and `n` once.
    fn take(&mut self, now: Instant, n: u64) -> Duration {
        let per_second = u128::from(self.per_second.get());
        let second = per_second * 1_000_000_000;
        let elapsed = now.saturating_duration_since(self.as_of).as_nanos();
        let n = u128::from(n).min(per_second * u128::from(LONGEST_SECONDS)) * 1_000_000_000;
        self.taken = self.taken.saturating_sub(per_second.saturating_mul(elapsed)).saturating_add(n);
        self.as_of = self.as_of.max(now);
        let nanos = self.taken.saturating_sub(second).div_ceil(per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A bucket under whatever rate is in force. With another rate it is full again.
#[derive(Debug, Default)]
struct Shared(Mutex<Option<Bucket>>);

impl Shared {
    fn take(&self, rate: Option<NonZeroU64>, now: Instant, n: u64) -> Duration {
        let Some(per_second) = rate else { return Duration::ZERO };
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *bucket {
            Some(bucket) if bucket.per_second == per_second => bucket.take(now, n),
            other => other.insert(Bucket::full(per_second, now)).take(now, n),
        }
    }
}

/// What one principal, or all together, may still take.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    bytes_in: Shared,
    bytes_out: Shared,
    requests: Shared,
}

impl Buckets {
    fn take_in(&self, rates: &Rates, now: Instant, n_bytes: u64, n_requests: u64) -> Duration {
        let bytes = self.bytes_in.take(rates.bytes_in_per_second, now, n_bytes);
        let requests = self.requests.take(rates.requests_per_second.map(NonZeroU64::from), now, n_requests);
        bytes.max(requests)
    }

    /// After how long all is paid.
    pub(super) fn owed(&self, rates: &Rates, now: Instant) -> Duration {
        self.take_in(rates, now, 0, 0).max(self.take_out(rates, now, 0))
    }

    fn take_out(&self, rates: &Rates, now: Instant, n_bytes: u64) -> Duration {
        self.bytes_out.take(rates.bytes_out_per_second, now, n_bytes)
    }
}

/// What is in force for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct InForce {
    cluster: Rates,
    principal: Rates,
}

impl InForce {
    fn of(policy: &PolicyWatch) -> Self {
        // A connection without a policy is about to be cut.
        policy.borrow().as_ref().map_or(
            Self { cluster: Rates::UNLIMITED, principal: Rates::UNLIMITED },
            |policy| {
                let limits = &policy.settings.limits;
                Self { cluster: limits.rates, principal: limits.principal_rates }
            },
        )
    }
}

/// One connection's part in the rates, and in what is counted.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    pub(super) policy: PolicyWatch,
    pub(super) cluster: Arc<Buckets>,
    pub(super) principal: Arc<Buckets>,
    pub(super) usage: Arc<Usage>,
    pub(super) own: Arc<PrincipalUsage>,
}

impl Pace {
    /// What is still owed for requests that other connections sent, or earlier ones.
    pub(super) fn before_reading(&self) -> Option<Pause> {
        self.pause_in(0, 0)
    }

    /// A request was read; the next one waits for this.
    pub(super) fn received(&self, n_bytes: usize) -> Option<Pause> {
        let n_bytes = n_bytes as u64;
        self.usage.requests.add(1);
        self.usage.bytes_in.add(n_bytes);
        self.own.requests.add(1);
        self.own.bytes_in.add(n_bytes);
        self.pause_in(n_bytes, 1)
    }

    /// What is still owed for responses.
    pub(super) fn before_writing(&self) -> Option<Pause> {
        self.pause_out(0)
    }

    /// A response was written; the next one waits for this.
    pub(super) fn sent(&self, n_bytes: usize) -> Option<Pause> {
        let n_bytes = n_bytes as u64;
        self.usage.bytes_out.add(n_bytes);
        self.own.bytes_out.add(n_bytes);
        self.pause_out(n_bytes)
    }

    fn pause_in(&self, n_bytes: u64, n_requests: u64) -> Option<Pause> {
        let (now, rates) = (Instant::now(), InForce::of(&self.policy));
        let cluster = self.cluster.take_in(&rates.cluster, now, n_bytes, n_requests);
        let principal = self.principal.take_in(&rates.principal, now, n_bytes, n_requests);
        self.pause(now, rates, cluster.max(principal), |throttled| &throttled.inward)
    }

    fn pause_out(&self, n_bytes: u64) -> Option<Pause> {
        let (now, rates) = (Instant::now(), InForce::of(&self.policy));
        let cluster = self.cluster.take_out(&rates.cluster, now, n_bytes);
        let principal = self.principal.take_out(&rates.principal, now, n_bytes);
        self.pause(now, rates, cluster.max(principal), |throttled| &throttled.outward)
    }

    fn pause(
        &self,
        now: Instant,
        under: InForce,
        wait: Duration,
        counter: fn(&Throttled) -> &Counter,
    ) -> Option<Pause> {
        let pace = || self.clone();
        (!wait.is_zero()).then(|| Pause { pace: pace(), began: None, until: now + wait, under, counter })
    }
}

/// A wait. Its time is counted when it ends, however it does.
#[derive(Debug)]
pub(super) struct Pause {
    pace: Pace,
    /// When somebody came who had to wait.
    began: Option<Instant>,
    until: Instant,
    under: InForce,
    counter: fn(&Throttled) -> &Counter,
}

impl Pause {
    /// Returns when it is over: its time has come, or other rates are in force. Nothing is lost when this is cancelled.
    pub(super) async fn over(&mut self) {
        self.began.get_or_insert_with(Instant::now);
        loop {
            let policy = &mut self.pace.policy;
            tokio::select! {
                () = sleep_until(self.until) => return,
                // The sender's end means that the process stops, and with it the connection.
                Ok(()) = policy.changed() => {}
            }
            if InForce::of(&self.pace.policy) != self.under {
                return;
            }
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let waited = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        (self.counter)(&self.pace.usage.throttled).add(nanos);
        (self.counter)(&self.pace.own.throttled).add(nanos);
    }
}

/// Returns when the wait is over; never when there is none.
pub(super) async fn over(pause: &mut Option<Pause>) {
    match pause {
        Some(pause) => pause.over().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u64) -> NonZeroU64 {
        NonZeroU64::new(per_second).unwrap()
    }

    #[test]
    fn a_seconds_worth_is_free_and_what_is_beyond_is_waited_for() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut bucket = Bucket::full(rate(1_000), begin);
        for (millis, n, wait) in [
            (0, 1_000, 0),
            (0, 1, 1),
            (500, 0, 0),
            (500, 501, 2),
            // A large frame passes whole, and is paid for afterwards.
            (2_000, 5_000, 4_000),
            (5_999, 0, 1),
            (6_000, 0, 0),
            // Idle time is not saved up beyond a second's worth.
            (60_000, 1_500, 500),
            // A clock that stands still or goes back gives nothing.
            (59_000, 0, 500),
            // A frame costs a minute at most.
            (100_000, 1_000_000, 59_000),
            (100_000, u64::MAX, 119_000),
        ] {
            assert_eq!(bucket.take(after(millis), n), Duration::from_millis(wait), "{n} at {millis} ms");
        }
    }

    #[test]
    fn the_largest_numbers_are_no_fault() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(rate(u64::MAX), begin);
        assert_eq!(bucket.take(begin, u64::MAX), Duration::ZERO);
        assert_eq!(bucket.take(begin, u64::MAX), Duration::from_secs(1));
        assert_eq!(bucket.take(begin + Duration::from_secs(1 << 33), 0), Duration::ZERO);
        let mut bucket = Bucket::full(rate(1), begin);
        assert_eq!(bucket.take(begin, u64::MAX), Duration::from_secs(LONGEST_SECONDS - 1));
    }

    #[test]
    fn another_rate_begins_without_debts() {
        let (shared, now) = (Shared::default(), Instant::now());
        for (per_second, n, wait) in
            [(Some(10), 20, 1), (Some(10), 10, 2), (Some(5), 10, 1), (None, 1_000, 0), (Some(5), 0, 1)]
        {
            let rate = per_second.map(rate);
            assert_eq!(shared.take(rate, now, n), Duration::from_secs(wait), "{n} at {per_second:?}");
        }
    }

    proptest! {
        #[test]
        fn in_any_time_no_more_passes_than_the_rate_gives_a_seconds_worth_and_one_frame(
            per_second in 1_u64..10_000_000,
            frames in prop::collection::vec((0_u64..3_000_000_000, 0_u64..20_000_000), 1..40),
        ) {
            let begin = Instant::now();
            let mut bucket = Bucket::full(rate(per_second), begin);
            let mut now = begin;
            let mut passed: Vec<(Instant, u128)> = Vec::new();
            for (idle_nanos, n) in frames {
                let n = n.min(per_second * LONGEST_SECONDS);
                passed.push((now, n.into()));
                now += bucket.take(now, n) + Duration::from_nanos(idle_nanos);
            }
            for from in 0..passed.len() {
                let mut sum = 0;
                for (at, n) in &passed[from..] {
                    let nanos = (*at - passed[from].0).as_nanos() + 1_000_000_000;
                    prop_assert!(sum * 1_000_000_000 <= u128::from(per_second) * nanos);
                    sum += n;
                }
            }
        }
    }
}
