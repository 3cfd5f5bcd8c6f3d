//! How many client connections a process holds, and how much memory their requests take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::usage::Usage;
use crate::wire::FrameBudget;

/// Counts the connections of SC and SPU of one process together, against the limit in the settings.
#[derive(Debug)]
pub struct ConnectionLimit {
    n_open: AtomicU32,
    large_frames: FrameBudget,
}

/// One request of the largest size, and half of one.
const LARGE_FRAME_BYTES: usize = 192 << 20;

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self { n_open: AtomicU32::new(0), large_frames: FrameBudget::new(LARGE_FRAME_BYTES) }
    }
}

impl ConnectionLimit {
    /// The memory that large requests of all connections share.
    pub(super) fn large_frames(&self) -> FrameBudget {
        self.large_frames.clone()
    }

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
