//! One public port for every tenant.
//!
//! A client's first bytes are a TLS hello. The gateway reads the server name in it, looks the name up in a
//! table, and from then on passes bytes between the client and the cluster's server. It holds no key and
//! sees nothing inside the TLS.
//!
//! - [`hello`]: from the first byte to a server name, or to the one way of refusing.
//! - [`limits`]: who may connect how often, and how many at once; pure decisions, bounded maps.
//! - [`routes`]: the table: from Postgres, kept on disk, in force until a newer one is.
//! - [`relay`]: the PROXY header, the kept hello, then bytes both ways.
//! - [`usage`]: what each cluster used, minute by minute.
//! - [`observe`]: metrics and health for the operator.
//! - [`server`]: the sockets and the life of one connection.

pub mod config;
pub mod hello;
pub mod limits;
pub mod observe;
pub mod relay;
pub mod routes;
pub mod server;
pub mod usage;
