//! `fluvio cloud cluster …`: one file per command.

mod create;
mod delete;
mod list;
mod pause;
mod sync;
mod undelete;
mod update;

use clap::Subcommand;

use crate::failure::Outcome;
use crate::places::Places;

/// Create, list, connect to, change and delete clusters
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Create a cluster
    Create(create::Create),
    /// List your clusters
    List(list::List),
    /// Write profiles for your clusters on this machine
    Sync(sync::Sync),
    /// Change a cluster's plan or its number of SPUs
    Update(update::Update),
    /// Let a cluster's servers rest and keep its data
    Pause(pause::Pause),
    /// Start a paused cluster again
    Resume(pause::Resume),
    /// Delete a cluster; for some days it can be had back
    Delete(delete::Delete),
    /// Have a deleted cluster back
    Undelete(undelete::Undelete),
}

impl ClusterCommand {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        match self {
            Self::Create(command) => command.run(places),
            Self::List(command) => command.run(places),
            Self::Sync(command) => command.run(places),
            Self::Update(command) => command.run(places),
            Self::Pause(command) => command.run(places),
            Self::Resume(command) => command.run(places),
            Self::Delete(command) => command.run(places),
            Self::Undelete(command) => command.run(places),
        }
    }
}
