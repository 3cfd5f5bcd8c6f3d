//! The sockets, the tasks, and the order in which they start and stop.

mod accept;
mod connection;
mod gateway;
mod run;

pub use gateway::Gateway;
pub use run::{Running, StartError};
