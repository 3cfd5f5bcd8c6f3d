//! Which server answers for which name.
//!
//! A [`Snapshot`] is what Postgres (or the file on disk) says; a [`Table`] is what connections look into.
//! [`Routes`] replaces one table by the next. Three things hold:
//!
//! - A route belongs to a cluster id. An address that serves another cluster, or a name that moved to another
//!   cluster, is another route, and the connections of the old one are reset.
//! - Those connections are gone before the new table is in force, so that nobody who asked for the old
//!   cluster is connected to an address that is already someone else's.
//! - A name that two clusters claim routes to neither.

mod address;
mod file;
mod follow;
mod snapshot;
mod table;

pub use address::{Address, AddressError};
pub use file::{TableFile, TableFileError};
pub use follow::{Source, follow};
pub use snapshot::{BackendKey, ClusterRecord, Snapshot, cut_by};
pub use table::{Backend, Cluster, OpenConnection, Refused, Route, Routes, Table};
