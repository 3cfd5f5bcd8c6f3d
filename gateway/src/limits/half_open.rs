//! Connections that have not sent a whole hello.
//!
//! An honest client needs one round trip for its hello, so the one that waits longest is the least likely to
//! be honest: at the bound it gives way to the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// All half-open connections, oldest first.
#[derive(Debug)]
pub struct HalfOpen {
    bound: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub struct HalfOpenPlace {
    all: Arc<HalfOpen>,
    number: u64,
    evicted: Arc<Notify>,
}

impl HalfOpen {
    /// At most `bound` at once.
    pub fn new(bound: usize) -> Self {
        Self { bound, state: Mutex::default() }
    }

    /// A place for a new connection, at the cost of the oldest if there is no other.
    pub fn enter(self: &Arc<Self>) -> HalfOpenPlace {
        let mut state = self.state.lock();
        if state.waiting.len() >= self.bound {
            state.evict_oldest();
        }
        let (number, evicted) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        state.waiting.insert(number, evicted.clone());
        drop(state);
        HalfOpenPlace { all: self.clone(), number, evicted }
    }

    /// Sends the oldest away to free its socket; `false` if there is none.
    pub fn evict_oldest(&self) -> bool {
        self.state.lock().evict_oldest()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    fn evict_oldest(&mut self) -> bool {
        match self.waiting.pop_first() {
            Some((_, evicted)) => {
                // Kept for the one who is not waiting yet.
                evicted.notify_one();
                true
            }
            None => false,
        }
    }
}

impl HalfOpenPlace {
    /// Returns when the place is needed for someone else.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for HalfOpenPlace {
    fn drop(&mut self) {
        self.all.state.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_gives_way_to_the_newest() {
        let all = Arc::new(HalfOpen::new(2));
        let first = all.enter();
        let second = all.enter();
        drop(second);
        let third = all.enter();
        let fourth = all.enter();
        first.evicted().await;
        drop(first);
        assert_eq!(all.len(), 2);
        drop((third, fourth));
        assert!(all.is_empty() && !all.evict_oldest());
    }
}
