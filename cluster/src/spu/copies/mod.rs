//! Copies of partitions: a leader that several SPUs follow.
//!
//! [`leading`] and [`answer`] decide, as pure functions over what is known at a moment; [`lead`], [`feed`] and
//! [`follow`] are the thin shell around them: the log's marks and the SC on the leader's side, a stream to each
//! follower, and on the follower's side the loop that takes batches in and cuts back what its leader never had.
//!
//! A record is committed when every copy in sync has it durably, and those are at least a majority. Which copies
//! are in sync is the SC's to say ([`crate::sc::decide::elect`]): the leader asks, and until it is answered counts
//! the old set and the new one together, so that it never commits what the SC's set does not have.

mod answer;
mod feed;
mod follow;
mod lead;
mod leading;
mod pace;
#[cfg(test)]
mod simulation;

pub(super) use follow::Follows;
pub(super) use lead::{Lead, Leads};
pub(super) use pace::Pace;
