//! The log engine of an SPU: batches in, fsynced, batches out.
//!
//! # In brief
//! A [`Store`] is the data folder of one SPU. [`Store::open`] gives a [`Partition`], a cheap handle to be cloned
//! by every connection:
//! ```ignore
//! let batches = batch::split(&record_set, limits)?;      // bounds and checksums
//! for batch in &batches { batch.check_records()?; }       // inner lengths
//! let ticket = partition.enqueue(batches).await?;         // in order, waits for room in the queue
//! let appended = ticket.await?;                           // fsynced now
//! let slice = partition.read(from, max_bytes, Isolation::Committed).await?;
//! ```
//!
//! # What always holds
//! - An acknowledgement comes after the bytes are on disk (with [`Durability::Disk`]).
//! - After a power cut the log is a prefix of what was appended, and holds all that was acknowledged.
//! - No byte is served whose checksum does not match.
//! - After a failed fsync nothing more is acknowledged until the partition was closed and recovered.
//!
//! # Layers, bottom up
//! [`disk`] and [`clock`] (seams), [`batch`] (the wire's format), [`document`] (small files), `segment` (log and
//! index files), `log` (recovery, roll, retention, reading; all blocking), [`Partition`] (group commit; async).

pub mod batch;
pub mod clock;
mod config;
pub mod disk;
pub mod document;
mod error;
mod log;
mod partition;
mod quota;
mod segment;
mod store;

#[cfg(test)]
mod tests;

pub use config::{Commit, Config, Durability};
pub use error::{AppendError, Corruption, Full, OpenError, ReadError, RepairError, TruncateError};
#[cfg(feature = "simulated")]
pub use log::SteppedLog;
pub use log::{Damage, Isolation, Offsets, Scrubbed, Slice, State};
pub use partition::{Appended, Maintained, Partition, Repair, Ticket};
pub use quota::Quota;
pub use store::{PartitionName, Store};
