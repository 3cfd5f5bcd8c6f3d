//! What each cluster used, by the minute, in the `usage` table.
//!
//! Connections count into [`ClusterUsage`], which only grows. Every five seconds the growth is added to the
//! current minute ([`Minutes`], pure) and the minutes that changed are written whole, so that writing twice
//! changes nothing and a database that was away gets what it missed.

mod book;
mod minutes;
mod writer;

pub use book::{ClusterUsage, Totals, UsageBook};
pub use minutes::{Minute, Minutes, Row};
pub use writer::{UsageWriter, write_usage};
