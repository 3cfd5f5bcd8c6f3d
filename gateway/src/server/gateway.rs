//! What all connections share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::limits::{AddressLimits, Addresses, Capacity, HalfOpen, Rate};
use crate::observe::Counters;
use crate::relay::{BufferPool, Patience, ServerPatience};
use crate::routes::Routes;
use crate::usage::UsageBook;

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The operator's figures.
    pub config: Config,
    /// Names to servers.
    pub routes: Arc<Routes>,
    /// Counters by cluster.
    pub book: Arc<UsageBook>,
    /// Limits by client address.
    pub addresses: Arc<Addresses>,
    /// Connections without a whole hello.
    pub half_open: Arc<HalfOpen>,
    /// Client connections.
    pub connections: Arc<Capacity>,
    /// Sockets of clients and servers.
    pub sockets: Arc<Capacity>,
    /// Memory for bytes on their way.
    pub buffers: Arc<BufferPool>,
    /// Counters of the whole gateway.
    pub counters: Counters,
    /// A stop was asked for: no new clients should be sent here.
    pub draining: CancellationToken,
    /// No new connections are taken.
    pub shut: CancellationToken,
    /// Orderly stop: nothing new, bytes that were read are written.
    pub stop: CancellationToken,
    /// The end of patience with those who do not take them.
    pub abort: CancellationToken,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
}

impl Gateway {
    /// A gateway without routes, for a process that may open so many files.
    pub fn new(config: Config, open_files: u64) -> Self {
        let book = Arc::<UsageBook>::default();
        let limits = AddressLimits {
            connections: config.max_connections_per_address,
            half_open: config.max_half_open_per_address,
            rate: Rate {
                per_second: config.new_connections_per_second_per_address,
                burst: config.new_connections_burst_per_address,
            },
        };
        let sockets = Capacity::within_files(open_files);
        let connections = if config.max_connections == 0 { sockets.bound() } else { config.max_connections };
        Self {
            routes: Arc::new(Routes::new(book.clone())),
            book,
            addresses: Arc::new(Addresses::new(limits)),
            half_open: Arc::new(HalfOpen::new(config.max_half_open)),
            connections: Arc::new(Capacity::new(connections)),
            sockets: Arc::new(sockets),
            buffers: Arc::new(BufferPool::new(config.copy_buffers)),
            counters: Counters::default(),
            draining: CancellationToken::new(),
            shut: CancellationToken::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
        }
    }

    /// New connections of one cluster.
    pub(super) fn cluster_rate(&self) -> Rate {
        Rate {
            per_second: self.config.new_connections_per_second_per_cluster,
            burst: self.config.new_connections_burst_per_cluster,
        }
    }

    pub(super) fn server_patience(&self) -> ServerPatience {
        ServerPatience {
            connect: self.config.connect_timeout(),
            silence: Duration::from_secs(self.config.server_silence_s),
        }
    }

    pub(super) fn patience(&self) -> Patience {
        let idle = self.config.idle_timeout_s;
        Patience {
            write: Duration::from_secs(self.config.write_timeout_s),
            half_closed: Duration::from_secs(self.config.half_close_timeout_s),
            idle: (idle > 0).then(|| Duration::from_secs(idle)),
        }
    }
}
