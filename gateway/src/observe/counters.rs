//! Counters of the whole gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hello::HelloError;
use crate::limits::AddressRefused;
use crate::relay::Ended;
use crate::routes::Refused;

/// Why a connection was refused. The operator sees it here; the client never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// No such name in the table.
    Unknown,
    /// A whole hello without a name.
    Nameless,
    /// No TLS hello.
    Malformed,
    /// A hello beyond the bound.
    TooLong,
    /// No whole hello in time.
    Late,
    /// The client left before its hello was whole.
    Gone,
    /// Gave way to a newer connection.
    Evicted,
    /// The address has too many connections.
    AddressConnections,
    /// The address has too many connections without a hello.
    AddressHalfOpen,
    /// The address connects too often.
    AddressRate,
    /// The cluster has too many connections.
    ClusterConnections,
    /// The cluster has too many new connections.
    ClusterRate,
    /// The gateway has no room.
    Full,
    /// The cluster's server was not reached.
    Unreachable,
    /// The route went while the connection was made.
    Cut,
    /// The gateway stops.
    Stopping,
}

impl Refusal {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Unknown,
        Self::Nameless,
        Self::Malformed,
        Self::TooLong,
        Self::Late,
        Self::Gone,
        Self::Evicted,
        Self::AddressConnections,
        Self::AddressHalfOpen,
        Self::AddressRate,
        Self::ClusterConnections,
        Self::ClusterRate,
        Self::Full,
        Self::Unreachable,
        Self::Cut,
        Self::Stopping,
    ];

    /// The word in `/metrics`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_name",
            Self::Nameless => "no_name",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Late => "late",
            Self::Gone => "client_gone",
            Self::Evicted => "evicted",
            Self::AddressConnections => "address_connections",
            Self::AddressHalfOpen => "address_half_open",
            Self::AddressRate => "address_rate",
            Self::ClusterConnections => "cluster_connections",
            Self::ClusterRate => "cluster_rate",
            Self::Full => "full",
            Self::Unreachable => "server_unreachable",
            Self::Cut => "route_gone",
            Self::Stopping => "stopping",
        }
    }
}

impl From<HelloError> for Refusal {
    fn from(error: HelloError) -> Self {
        match error {
            HelloError::Gone => Self::Gone,
            HelloError::Late => Self::Late,
            HelloError::Nameless => Self::Nameless,
            HelloError::Malformed => Self::Malformed,
            HelloError::TooLong => Self::TooLong,
        }
    }
}

impl From<AddressRefused> for Refusal {
    fn from(error: AddressRefused) -> Self {
        match error {
            AddressRefused::Connections => Self::AddressConnections,
            AddressRefused::HalfOpen => Self::AddressHalfOpen,
            AddressRefused::Rate => Self::AddressRate,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(error: Refused) -> Self {
        match error {
            Refused::Connections => Self::ClusterConnections,
            Refused::Rate => Self::ClusterRate,
        }
    }
}

/// The words for how a routed connection ended, in `/metrics`.
pub(super) const ENDED: [&str; 7] = ["orderly", "client", "server", "stuck", "idle", "stopping", "cut"];
const CUT: usize = 6;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    routed: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    ended: [AtomicU64; ENDED.len()],
    accept_errors: AtomicU64,
    /// Usage rows that wait for the database; set by the usage writer.
    pub usage_rows_waiting: Arc<AtomicU64>,
}

impl Counters {
    /// A client was connected to its server.
    pub fn count_routed(&self) {
        self.routed.fetch_add(1, Ordering::Relaxed);
    }

    /// A client was refused.
    pub fn count_refused(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A routed connection ended; `None` if its route was cut.
    pub fn count_ended(&self, how: Option<Ended>) {
        let index = match how {
            Some(Ended::Orderly) => 0,
            Some(Ended::Client) => 1,
            Some(Ended::Backend) => 2,
            Some(Ended::Stuck) => 3,
            Some(Ended::Idle) => 4,
            Some(Ended::Stopping) => 5,
            None => CUT,
        };
        self.ended[index].fetch_add(1, Ordering::Relaxed);
    }

    /// The system did not hand out a connection.
    pub fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Clients connected to their servers so far.
    pub fn routed(&self) -> u64 {
        self.routed.load(Ordering::Relaxed)
    }

    /// Clients refused for this reason so far.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Routed connections that ended, by the index of [`ENDED`].
    pub(super) fn ended(&self, index: usize) -> u64 {
        self.ended[index].load(Ordering::Relaxed)
    }

    /// Failures of accept so far.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_number_and_word() {
        let mut words: Vec<_> = Refusal::ALL.iter().map(|r| r.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Refusal::ALL.len());
        for (number, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
