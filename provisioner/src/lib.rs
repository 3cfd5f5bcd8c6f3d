//! Turns wanted clusters into running ones and reports what is.
//!
//! The shape of the work, for each cluster: read what is wanted ([`store`]), look at what is ([`keeper`]),
//! decide ([`plan`], pure), apply, and record what is ([`status`], pure). A notification says only "look
//! again"; every loop also looks on a timer, does the same work each time, and may be killed anywhere.
//!
//! Two runtimes. `process` is [`director`], [`keeper`], [`plan`] and [`process`] with what they keep on the disk;
//! [`kubernetes`] has all of that anew for pods, and shares the rows, the settings, the status and the probe.
//!
//! Of `process` three kinds of tasks: one [`director`] reads the database and holds the leases; a [`keeper`] per cluster
//! works on that cluster alone; a [supervisor](process) per cluster keeps its processes running, and knows
//! nothing of the database.

mod complaint;
pub mod config;
pub mod control;
pub mod director;
pub mod folder;
pub mod identity;
pub mod keeper;
pub mod kubernetes;
pub mod plan;
pub mod probe;
pub mod process;
pub mod record;
pub mod serve;
pub mod settings;
pub mod status;
mod step;
pub mod store;
pub mod users;
