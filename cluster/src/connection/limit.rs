//! How many client connections a process holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::usage::Usage;

/// Counts the connections of SC and SPU of one process together, against the limit in the settings.
#[derive(Debug, Default)]
pub struct ConnectionLimit {
    n_open: AtomicU32,
}

impl ConnectionLimit {
    /// A place for one more connection, if fewer than `limit` are open. It is given back when dropped.
    pub fn admit(self: &Arc<Self>, limit: u32, usage: &Arc<Usage>) -> Option<Admission> {
        self.n_open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1))
            .ok()?;
        usage.connections.add(1);
        Some(Admission { limit: Arc::clone(self), usage: Arc::clone(usage) })
    }
}

/// One open connection's place.
#[derive(Debug)]
pub struct Admission {
    limit: Arc<ConnectionLimit>,
    usage: Arc<Usage>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.limit.n_open.fetch_sub(1, Ordering::Relaxed);
        self.usage.connections.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
        let first = limit.admit(2, &usage).unwrap();
        let _second = limit.admit(2, &usage).unwrap();
        assert!(limit.admit(2, &usage).is_none());
        drop(first);
        assert!(limit.admit(2, &usage).is_some());
        assert_eq!(usage.connections.get(), 1);
    }
}
