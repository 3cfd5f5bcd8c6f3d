//! The small `fluvio`: its own commands, and any `fluvio-<name>` it finds for the rest.

mod extension;
mod version;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use self::extension::Extensions;
use crate::failure::{Failure, OrFail, Outcome};
use crate::local::ClusterCommand;
use crate::places::Places;
use crate::streams::consume::Consume;
use crate::streams::consumers::ConsumerCommand;
use crate::streams::objects::{SmartModuleCommand, TableFormatCommand};
use crate::streams::partition::PartitionCommand;
use crate::streams::produce::Produce;
use crate::streams::profiles::ProfileCommand;
use crate::streams::target::Target;
use crate::streams::topic::TopicCommand;

/// Produce and consume streams of records
#[derive(Debug, Parser)]
#[command(name = "fluvio", version, arg_required_else_help = true)]
pub struct HostProgram {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: HostCommand,
}

#[derive(Debug, Subcommand)]
enum HostCommand {
    #[command(subcommand)]
    Topic(TopicCommand),
    #[command(subcommand)]
    Partition(PartitionCommand),
    #[command(subcommand)]
    Cluster(ClusterCommand),
    Produce(Box<Produce>),
    Consume(Box<Consume>),
    #[command(subcommand)]
    Consumer(ConsumerCommand),
    #[command(subcommand)]
    Profile(ProfileCommand),
    #[command(subcommand, name = "smartmodule", visible_alias = "sm")]
    SmartModule(SmartModuleCommand),
    #[command(subcommand, name = "table-format")]
    TableFormat(TableFormatCommand),
    Version(version::Version),
    #[command(external_subcommand)]
    Extension(Vec<OsString>),
}

impl HostProgram {
    /// Reads the command line; ends the process for help and for wrong use, as clap does.
    pub fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let asked_for_help = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            // Only the first page of help names the extensions: each of them is run to say what it is.
            if asked_for_help
                && std::env::args_os().len() <= 2
                && let Ok(places) = Places::from_env()
            {
                let _ended = Self::command().after_help(Extensions::of(&places).help()).get_matches();
            }
            error.exit()
        })
    }

    /// Runs the command that was given.
    pub fn run(self) -> Outcome {
        let places = Places::from_env()?;
        match self.command {
            HostCommand::Extension(words) => Extensions::of(&places).run(&words),
            HostCommand::Version(command) => command.run(&self.target, &places),
            HostCommand::Profile(command) => command.run(&places),
            HostCommand::Topic(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::Partition(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::Cluster(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::Produce(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::Consume(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::SmartModule(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::TableFormat(command) => wait_for(command.run(&self.target, &places)),
            HostCommand::Consumer(command) => wait_for(command.run(&self.target, &places)),
        }
    }
}

/// Runs a command that talks to a cluster. One thread is enough: the client brings its own for its connections.
fn wait_for(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail("the program could not start its own threads")?;
    let outcome = runtime.block_on(command);
    // A thread that waits for somebody to type must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// What is said of a command that is neither ours nor an extension.
fn unknown(name: &str) -> Failure {
    Failure::usage(format!("there is no command `{name}` and no extension `fluvio-{name}`"))
        .with_fix("fluvio help lists what there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_unknown_words_go_to_extensions() {
        HostProgram::command().debug_assert();
        let words = ["fluvio", "cloud", "login", "--remote", "https://p"];
        let HostCommand::Extension(passed) = HostProgram::try_parse_from(words).unwrap().command else {
            panic!("taken for a command of our own")
        };
        assert_eq!(passed, words[1..]);
    }

    #[test]
    fn wrong_use_is_told_from_help_by_its_exit_code() {
        let code = |words: &[&str]| HostProgram::try_parse_from(words).unwrap_err().exit_code();
        assert_eq!(code(&["fluvio", "--help"]), 0);
        assert_eq!(code(&["fluvio", "topic", "create"]), 2);
        assert_eq!(code(&["fluvio", "consume", "t", "--nope"]), 2);
        assert_eq!(code(&["fluvio", "-P", "a", "-c", "b:1", "topic", "list"]), 2);
    }
}
