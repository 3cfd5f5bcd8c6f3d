//! `fluvio cluster start`, `check`, `status`, `shutdown` and `delete`: the engine alone on this machine, without the
//! cloud. An SC and SPUs are processes of this user that speak plaintext on loopback and nowhere else. Nobody watches
//! over them: `status` says which have ended, and `start` starts what is missing.

mod book;
mod check;
mod control;
mod delete;
mod documents;
mod launch;
mod place;
mod ports;
mod process;
mod program;
mod shutdown;
mod start;
mod status;

use clap::Subcommand;

use crate::failure::{Failure, Outcome};
use crate::places::Places;
use crate::streams::spu::SpuCommand;
use crate::streams::target::Target;

/// The profile of the local cluster, as upstream's CLI names it.
const PROFILE: &str = "local";

/// Run a cluster on this machine, and look at the SPUs of any
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Start the cluster on this machine
    Start(start::Start),
    /// See whether a cluster could start on this machine
    Check(check::Check),
    /// Show the cluster on this machine
    Status(status::Show),
    /// Stop the cluster on this machine and keep its records
    #[command(visible_alias = "stop")]
    Shutdown(shutdown::Shutdown),
    /// Delete the cluster on this machine and its records
    Delete(delete::Delete),
    /// Look at the SPUs of the cluster you talk to
    #[command(subcommand)]
    Spu(SpuCommand),
    /// Become a server, once told to: what `start` runs
    #[command(hide = true)]
    Launch(launch::Launch),
}

impl ClusterCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        if target.is_given() && !matches!(self, Self::Spu(_)) {
            return Err(Failure::usage(
                "--profile and --cluster are for clusters elsewhere; this is the one on this machine",
            )
            .with_fix("leave them out"));
        }
        match self {
            Self::Start(command) => Box::pin(command.run(places)).await,
            Self::Check(command) => command.run(places),
            Self::Status(command) => command.run(places).await,
            Self::Shutdown(command) => command.run(places),
            Self::Delete(command) => command.run(places),
            Self::Spu(command) => command.run(target, places).await,
            Self::Launch(command) => command.run(),
        }
    }
}
