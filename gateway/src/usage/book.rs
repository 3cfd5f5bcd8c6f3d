//! Counters of each cluster, shared by its connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

/// Counters of one cluster since this gateway started. All but `open` only grow.
#[derive(Debug, Default)]
pub struct ClusterUsage {
    /// Bytes from clients.
    pub bytes_in: AtomicU64,
    /// Bytes to clients.
    pub bytes_out: AtomicU64,
    /// Connections that reached their server.
    pub opened: AtomicU64,
    /// Connections refused by one of the cluster's limits.
    pub refused: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// See [`ClusterUsage::bytes_in`].
    pub bytes_in: u64,
    /// See [`ClusterUsage::bytes_out`].
    pub bytes_out: u64,
    /// See [`ClusterUsage::opened`].
    pub opened: u64,
    /// See [`ClusterUsage::refused`].
    pub refused: u64,
    /// See [`ClusterUsage::open`].
    pub open: u64,
}

impl ClusterUsage {
    /// The counters now.
    pub fn totals(&self) -> Totals {
        Totals {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Acquire),
        }
    }
}

/// The counters of every cluster that is in the table, has connections, or has not been sampled since.
#[derive(Debug, Default)]
pub struct UsageBook(Mutex<HashMap<Uuid, Arc<ClusterUsage>>>);

impl UsageBook {
    /// The counters of a cluster, at zero for a new one.
    pub fn of(&self, cluster: Uuid) -> Arc<ClusterUsage> {
        self.0.lock().entry(cluster).or_default().clone()
    }

    /// Everyone's counters now, by ascending id. Clusters of which nobody else holds the counters any more
    /// are forgotten after this last look at them.
    pub fn sample(&self) -> Vec<(Uuid, Totals)> {
        let mut book = self.0.lock();
        let mut all = Vec::with_capacity(book.len());
        book.retain(|id, usage| {
            // Looked at before reading: who held it then has counted by now, or is looked at again.
            let held = Arc::strong_count(usage) > 1;
            all.push((*id, usage.totals()));
            held
        });
        drop(book);
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_nobody_holds_is_seen_once_more_and_forgotten() {
        let book = UsageBook::default();
        let usage = book.of(Uuid::from_u128(1));
        usage.bytes_in.fetch_add(7, Ordering::Relaxed);
        assert_eq!(book.sample()[0].1.bytes_in, 7);
        usage.bytes_in.fetch_add(1, Ordering::Relaxed);
        drop(usage);
        assert_eq!(book.sample()[0].1.bytes_in, 8);
        assert!(book.sample().is_empty());
    }
}
