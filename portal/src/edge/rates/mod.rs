//! How fast something may be tried, counted over all portals of a cloud: token buckets in the database. What this
//! portal last knew of a bucket is kept in memory too: it turns away who is known to be too fast without asking the
//! database, and counts alone while the database does not answer.

mod bucket;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use tokio::time::timeout;

use crate::db::rates as rows;
use bucket::{Buckets, Taken};

pub use bucket::TooFast;

/// A count that takes longer than this is given up: this portal's own stands.
const PATIENCE: Duration = Duration::from_secs(1);
/// After that the database is left alone for so long.
const AWAY: Duration = Duration::from_secs(1);
/// Buckets of one kind in the database. Past that the fullest, those with the least to remember, are forgotten.
const MOST_ROWS: i64 = 100_000;

/// Whose bucket. An address is personal data, so only its SHA-256 rests in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        Key(Sha256::digest(address.to_string().as_bytes()).into())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Sha256::digest(text.as_bytes()).into())
    }
}

impl From<(&str, IpAddr)> for Key {
    fn from((text, address): (&str, IpAddr)) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(address.to_string().as_bytes());
        // No address holds a zero byte, so no two pairs are one.
        hasher.update([0]);
        hasher.update(text.as_bytes());
        Key(hasher.finalize().into())
    }
}

/// What all kinds of buckets share.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    /// Until then the database is not asked.
    away: Arc<Mutex<Option<Instant>>>,
}

impl Store {
    /// Buckets in this database.
    pub fn new(pool: PgPool) -> Self {
        Store { pool, away: Arc::default() }
    }

    /// Asks the database; `None` when it does not answer.
    async fn ask<T>(&self, question: impl Future<Output = sqlx::Result<T>>) -> Option<T> {
        let now = Instant::now();
        if self.lock().is_some_and(|until| now < until) {
            return None;
        }
        let why = match timeout(PATIENCE, question).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!("rates are counted by this portal alone for a moment: {why}");
        *self.lock() = Some(Instant::now() + AWAY);
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One kind of buckets.
pub struct Rate {
    kind: &'static str,
    size: Size,
    /// Tokens that this portal hands out of its own count before it settles with the database.
    step: u32,
    here: Buckets,
    store: Store,
}

/// What a bucket of a kind holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Tokens at most.
    pub burst: u32,
    /// Until there is one more.
    pub period: Duration,
}

impl Rate {
    /// Buckets of `burst` tokens, one more each `period`; every token is counted at once.
    pub fn new(store: &Store, kind: &'static str, burst: u32, period: Duration) -> Self {
        let size = Size { burst: burst.max(1), period };
        Rate { kind, size, step: 1, here: Buckets::new(size), store: store.clone() }
    }

    /// The same for what is tried so often that the database hears of every so many only; each portal may hand out
    /// that many too many.
    pub fn settled_each(self, step: u32) -> Self {
        Rate { step: step.min(self.size.burst / 10).max(1), ..self }
    }

    /// Takes a token of this key.
    pub async fn take(&self, key: impl Into<Key>) -> Result<(), TooFast> {
        let key = key.into();
        let Taken { to_settle } = self.here.take(key, self.step, Instant::now())?;
        if to_settle == 0 {
            return Ok(());
        }
        let question = rows::take(&self.store.pool, self.kind, &key.0, self.size, to_settle);
        let Some(count) = self.store.ask(question).await else { return Ok(()) };
        self.here.settle(key, count.tokens, Instant::now());
        if count.taken { Ok(()) } else { Err(TooFast::until_next(count.tokens, self.size)) }
    }

    /// Gives a token back: what was tried turned out to be no abuse.
    pub async fn give_back(&self, key: impl Into<Key>) {
        let key = key.into();
        self.here.give_back(key);
        let question = rows::give_back(&self.store.pool, self.kind, &key.0, self.size);
        // A token that is not given back costs an honest person one try.
        let _ = self.store.ask(question).await;
    }

    /// Forgets the buckets that are full again, and of too many the fullest; how many they were.
    pub async fn sweep(&self) -> sqlx::Result<u64> {
        rows::sweep(&self.store.pool, self.kind, self.size, MOST_ROWS).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_people_differ() {
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let two: IpAddr = "192.0.2.2".parse().unwrap();
        assert_ne!(Key::from(one), Key::from(two));
        assert_ne!(Key::from(("a", one)), Key::from(("a", two)));
        assert_ne!(Key::from(("a", one)), Key::from(("b", one)));
        assert_ne!(Key::from(("", one)), Key::from(one));
    }

    #[tokio::test]
    async fn without_a_database_each_portal_counts_alone() {
        let nowhere = "postgres:///cloud?host=/nonexistent".parse().unwrap();
        let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(nowhere);
        let rate = Rate::new(&Store::new(pool), "test", 3, Duration::from_secs(60));
        for _ in 0..3 {
            assert_eq!(rate.take("ada").await, Ok(()));
        }
        assert!(rate.take("ada").await.is_err());
        assert_eq!(rate.take("bob").await, Ok(()));
        rate.give_back("ada").await;
        assert_eq!(rate.take("ada").await, Ok(()));
    }
}
