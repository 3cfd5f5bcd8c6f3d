//! The streaming controller: which topics exist, where their partitions live, and who is told so.
//!
//! One task, the engine, owns all that changes. It takes commands in order, decides by pure functions
//! ([`decide`]), writes the new [`metadata`] to disk, and publishes a new [`state`]. Everybody else (admin
//! requests, watch streams, links to SPUs, health) reads the published state and compares it with what they
//! saw before.

pub mod admin;
pub mod decide;
mod due;
mod engine;
mod handle;
pub mod metadata;
pub mod objects;
mod refusal;
pub mod state;
pub(crate) mod store;
pub mod topic;

pub use handle::{Owner, Sc, SettingsRefused, SpuHello};
pub use refusal::Refusal;
pub use store::StoreError;
