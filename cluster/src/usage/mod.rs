//! What a process counts of itself; the control socket renders it for `/metrics`.

mod principals;

use std::sync::atomic::{AtomicU64, Ordering};

pub use principals::{PrincipalUsage, Principals};

/// A number that many tasks change and one reads now and then.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` off; for numbers of things that are there now.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Makes it `n`; for numbers that one task counts by itself.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Nanoseconds for which connections were held back by a limit of rates, summed over connections, by direction. A wait is
/// counted when it ends.
#[derive(Debug, Default)]
pub struct Throttled {
    /// Not reading the next request.
    pub inward: Counter,
    /// Not writing the next response.
    pub outward: Counter,
}

/// The counters of one process, SC and SPU together.
#[derive(Debug, Default)]
pub struct Usage {
    /// Bytes of request frames read from clients.
    pub bytes_in: Counter,
    /// Bytes of response frames written to clients.
    pub bytes_out: Counter,
    /// Records stored for producers.
    pub records_in: Counter,
    /// Bytes of record batches stored for producers.
    pub record_bytes_in: Counter,
    /// Bytes of record batches sent to consumers.
    pub record_bytes_out: Counter,
    /// Connections open now, handshakes included.
    pub connections: Counter,
    /// Connections accepted since the start.
    pub connections_accepted: Counter,
    /// Connections turned away before their first request: limit, handshake, name, certificate, access.
    pub connections_refused: Counter,
    /// Live connections ended because their principal, certificate or right went away.
    pub connections_cut: Counter,
    /// How long connections were held back by a limit of rates.
    pub throttled: Throttled,
    /// The same by principal, with what each did.
    pub principals: Principals,
    /// Requests read.
    pub requests: Counter,
    /// Requests that were answered with an error or ended their connection.
    pub request_errors: Counter,
    /// Panics of the schema crates and the decompressors on a client's bytes, each contained to its connection.
    pub decode_panics: Counter,
    /// Consumer streams open now.
    pub streams: Counter,
    /// Bytes of log read through in search of damage.
    pub scrubbed_bytes: Counter,
    /// Damaged places found in logs.
    pub damage_found: Counter,
    /// Damaged places mended from another copy.
    pub damage_mended: Counter,
    /// Damaged places there are now.
    pub damaged: Counter,
}
