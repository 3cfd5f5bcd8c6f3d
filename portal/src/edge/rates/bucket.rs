//! Token buckets in bounded memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Key, Size};

/// Keys remembered at once. Past that the fullest buckets, those with the least to remember, are forgotten.
const MOST_KEYS: usize = 20_000;

/// Buckets of one size.
#[derive(Debug)]
pub struct Buckets {
    size: Size,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When it will be full again: this one moment says how many tokens there are.
    full_at: Instant,
    /// Tokens taken of which the database has not heard.
    unsettled: u32,
}

/// A token was there.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// Tokens of which the database must hear now, 0 for not yet. They are the caller's to tell it.
    pub to_settle: u32,
}

/// Too fast; the number is seconds until the next token.
#[derive(Debug, PartialEq, Eq)]
pub struct TooFast(pub u32);

impl TooFast {
    /// For a bucket with so many tokens, less than one.
    pub fn until_next(tokens: f64, size: Size) -> Self {
        TooFast::after(until(tokens, 1.0, size))
    }

    fn after(wait: Duration) -> Self {
        TooFast(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
    }
}

impl From<TooFast> for crate::problem::Problem {
    fn from(too_fast: TooFast) -> Self {
        crate::problem::Problem::TooMany(too_fast.0)
    }
}

/// How long until a bucket with `tokens` has `wanted`.
fn until(tokens: f64, wanted: f64, size: Size) -> Duration {
    // The database's figure is a float, and no figure of it may stop this portal.
    Duration::try_from_secs_f64((wanted - tokens).max(0.0) * size.period.as_secs_f64())
        .unwrap_or(Duration::from_secs(86_400))
}

impl Buckets {
    /// Full buckets of this size.
    pub fn new(size: Size) -> Self {
        Buckets { size, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes a token of this key; each `step` of them are to be settled together.
    pub fn take(&self, key: Key, step: u32, now: Instant) -> Result<Taken, TooFast> {
        let mut buckets = self.lock();
        if buckets.len() >= MOST_KEYS && !buckets.contains_key(&key) {
            forget_some(&mut buckets, now);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { full_at: now, unsettled: 0 });
        let taken = bucket.full_at.max(now) + self.size.period;
        let over = taken.saturating_duration_since(now + self.size.period * self.size.burst);
        if !over.is_zero() {
            return Err(TooFast::after(over));
        }
        bucket.full_at = taken;
        bucket.unsettled = bucket.unsettled.saturating_add(1);
        let to_settle = if bucket.unsettled < step { 0 } else { std::mem::take(&mut bucket.unsettled) };
        Ok(Taken { to_settle })
    }

    /// Takes over the number of tokens that the database says are left.
    pub fn settle(&self, key: Key, tokens: f64, now: Instant) {
        let mut buckets = self.lock();
        if let Some(bucket) = buckets.get_mut(&key) {
            // What was taken here meanwhile is not in the database's figure yet.
            let more = self.size.period * bucket.unsettled;
            bucket.full_at = now + until(tokens, f64::from(self.size.burst), self.size) + more;
        }
    }

    /// Gives a token back.
    pub fn give_back(&self, key: Key) {
        if let Some(bucket) = self.lock().get_mut(&key) {
            bucket.full_at = bucket.full_at.checked_sub(self.size.period).unwrap_or(bucket.full_at);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Bucket>> {
        // A panic elsewhere leaves the map whole: each change is a few assignments.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what is full; if nothing is, the half that will be full soonest.
fn forget_some(buckets: &mut HashMap<Key, Bucket>, now: Instant) {
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

    fn buckets(burst: u32, seconds: u64) -> Buckets {
        Buckets::new(Size { burst, period: Duration::from_secs(seconds) })
    }

    #[test]
    fn a_burst_passes_then_one_each_period() {
        let (rate, a, b) = (buckets(3, 10), Key::from("a"), Key::from("b"));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(rate.take(a, 1, start), Ok(Taken { to_settle: 1 }));
        }
        assert_eq!(rate.take(a, 1, start), Err(TooFast(11)));
        assert!(rate.take(b, 1, start).is_ok(), "keys do not share");
        assert!(rate.take(a, 1, at(9)).is_err());
        assert!(rate.take(a, 1, at(10)).is_ok());
        assert!(rate.take(a, 1, at(11)).is_err());
    }

    #[test]
    fn every_token_is_settled_once_by_one_of_those_who_took_them() {
        let (rate, key, now) = (buckets(100, 1), Key::from("a"), Instant::now());
        let told: Vec<u32> = (0..45).map(|_| rate.take(key, 20, now).unwrap().to_settle).collect();
        assert_eq!(told.iter().filter(|told| **told > 0).count(), 2);
        assert_eq!((told[19], told[39]), (20, 20));
        rate.settle(key, 10.0, now);
        assert_eq!((0..100).filter(|_| rate.take(key, 20, now).is_ok()).count(), 5, "five are not told yet");
    }

    #[test]
    fn ten_thousand_tries_pass_no_more_than_the_bucket_holds() {
        let (rate, now) = (buckets(10, 20), Instant::now());
        assert_eq!((0..10_000).filter(|_| rate.take(Key::from("victim"), 1, now).is_ok()).count(), 10);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (rate, key, now) = (buckets(1, 60), Key::from("a"), Instant::now());
        for _ in 0..100 {
            assert!(rate.take(key, 1, now).is_ok());
            rate.give_back(key);
        }
        assert!(rate.take(key, 1, now).is_ok());
        assert!(rate.take(key, 1, now).is_err());
    }

    #[test]
    fn what_the_database_says_counts_from_then_on() {
        let (rate, key, now) = (buckets(10, 10), Key::from("a"), Instant::now());
        assert!(rate.take(key, 1, now).is_ok());
        rate.settle(key, 0.5, now);
        assert_eq!(rate.take(key, 1, now), Err(TooFast(6)), "others took the rest; half a token is there");
        assert!(rate.take(key, 1, now + Duration::from_secs(5)).is_ok());
        rate.settle(key, 9.0, now + Duration::from_secs(5));
        let again = (0..20).filter(|_| rate.take(key, 1, now + Duration::from_secs(5)).is_ok());
        assert_eq!(again.count(), 9);
        rate.settle(key, f64::MIN, now);
        assert!(rate.take(key, 1, now).is_err());
    }

    #[test]
    fn memory_stays_bounded_and_the_busiest_are_remembered() {
        let (rate, now) = (buckets(5, 60), Instant::now());
        let busy = Key::from("busy");
        while rate.take(busy, 1, now).is_ok() {}
        for key in 0..100_000u32 {
            let _ = rate.take(Key::from(key.to_string().as_str()), 1, now);
        }
        assert!(rate.lock().len() <= MOST_KEYS);
        assert!(rate.take(busy, 1, now).is_err(), "the one who hammers is not forgotten");
    }
}
