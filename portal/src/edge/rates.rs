//! How fast something may be tried: token buckets by key, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Keys remembered at once. Past that the fullest buckets, those with the least to remember, are forgotten.
const MOST_KEYS: usize = 20_000;

/// Buckets of `burst` tokens, one more each `period`.
pub struct Rate<K> {
    burst: u32,
    period: Duration,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// A bucket is the moment at which it will be full again: one number says all.
#[derive(Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

/// Too fast; the number is seconds until the next token.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFast(pub u32);

impl From<TooFast> for crate::problem::Problem {
    fn from(too_fast: TooFast) -> Self {
        crate::problem::Problem::TooMany(too_fast.0)
    }
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// Buckets of `burst` tokens, one more each `period`.
    pub fn new(burst: u32, period: Duration) -> Self {
        Rate { burst: burst.max(1), period, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes a token of this key.
    pub fn take(&self, key: K) -> Result<(), TooFast> {
        self.take_at(key, Instant::now())
    }

    /// Gives a token back: what was tried turned out to be no abuse.
    pub fn give_back(&self, key: &K) {
        let mut buckets = self.lock();
        if let Some(bucket) = buckets.get_mut(key) {
            bucket.full_at = bucket.full_at.checked_sub(self.period).unwrap_or(bucket.full_at);
        }
    }

    fn take_at(&self, key: K, now: Instant) -> Result<(), TooFast> {
        let mut buckets = self.lock();
        if buckets.len() >= MOST_KEYS && !buckets.contains_key(&key) {
            forget_some(&mut buckets, now);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { full_at: now });
        let taken = bucket.full_at.max(now) + self.period;
        let over = taken.saturating_duration_since(now + self.period * self.burst);
        if !over.is_zero() {
            return Err(TooFast(u32::try_from(over.as_secs()).unwrap_or(u32::MAX).saturating_add(1)));
        }
        bucket.full_at = taken;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Bucket>> {
        // A panic elsewhere leaves the map whole: each change is one assignment.
        self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Forgets what is full; if nothing is, the half that will be full soonest.
fn forget_some<K: Hash + Eq + Clone>(buckets: &mut HashMap<K, Bucket>, now: Instant) {
    buckets.retain(|_, bucket| bucket.full_at > now);
    if buckets.len() >= MOST_KEYS {
        let mut ends: Vec<Instant> = buckets.values().map(|bucket| bucket.full_at).collect();
        let middle = ends.len() / 2;
        let (_, &mut median, _) = ends.select_nth_unstable(middle);
        buckets.retain(|_, bucket| bucket.full_at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_each_period() {
        let rate = Rate::new(3, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(rate.take_at("a", start), Ok(()));
        }
        assert_eq!(rate.take_at("a", start), Err(TooFast(11)));
        assert_eq!(rate.take_at("b", start), Ok(()), "keys do not share");
        assert!(rate.take_at("a", at(9)).is_err());
        assert_eq!(rate.take_at("a", at(10)), Ok(()));
        assert!(rate.take_at("a", at(11)).is_err());
    }

    #[test]
    fn ten_thousand_tries_pass_no_more_than_the_bucket_holds() {
        let rate = Rate::new(10, Duration::from_secs(20));
        let now = Instant::now();
        assert_eq!((0..10_000).filter(|_| rate.take_at("victim", now).is_ok()).count(), 10);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(1, Duration::from_secs(60));
        for _ in 0..100 {
            assert_eq!(rate.take("a"), Ok(()));
            rate.give_back(&"a");
        }
        assert_eq!(rate.take("a"), Ok(()));
        assert!(rate.take("a").is_err());
    }

    #[test]
    fn memory_stays_bounded_and_the_busiest_are_remembered() {
        let rate = Rate::new(5, Duration::from_secs(60));
        let now = Instant::now();
        while rate.take_at(u32::MAX, now).is_ok() {}
        for key in 0..100_000u32 {
            let _ = rate.take_at(key, now);
        }
        assert!(rate.lock().len() <= MOST_KEYS);
        assert!(rate.take_at(u32::MAX, now).is_err(), "the one who hammers is not forgotten");
    }
}
