//! The plugin behind `fluvio cloud …`.

mod access_tokens;
mod account;
mod answers;
mod api;
mod attach;
mod certificate;
mod cluster;
mod key;
mod login;
mod logout;
mod metadata;
mod remote;
mod session;
mod wait;
mod whoami;

use clap::{Parser, Subcommand};

use crate::failure::Outcome;
use crate::output;
use crate::places::Places;

/// Log in to Fluvio Cloud and manage your clusters
#[derive(Debug, Parser)]
#[command(name = "fluvio cloud", bin_name = "fluvio cloud", version, arg_required_else_help = true)]
pub struct CloudProgram {
    #[command(subcommand)]
    command: CloudCommand,
}

#[derive(Debug, Subcommand)]
enum CloudCommand {
    Login(login::Login),
    Logout(logout::Logout),
    Whoami(whoami::Whoami),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    #[command(subcommand)]
    Certificate(certificate::CertificateCommand),
    /// Print the plugin's version
    Version,
    /// Print what a host program wants to know of its plugins
    #[command(hide = true)]
    Metadata,
    /// Print an access token for other plugins
    #[command(hide = true)]
    CliAccessTokens,
}

impl CloudProgram {
    /// Runs the command that was given.
    pub fn run(&self) -> Outcome {
        // What a host asks must work without a home folder.
        match &self.command {
            CloudCommand::Metadata => return metadata::run(),
            CloudCommand::Version => {
                output::line(concat!("fluvio-cloud ", env!("CARGO_PKG_VERSION")))?;
                return Ok(0);
            }
            _ => {}
        }
        let places = Places::from_env()?;
        match &self.command {
            CloudCommand::Login(command) => command.run(&places),
            CloudCommand::Logout(command) => command.run(&places),
            CloudCommand::Whoami(command) => command.run(&places),
            CloudCommand::Cluster(command) => command.run(&places),
            CloudCommand::Certificate(command) => command.run(&places),
            CloudCommand::CliAccessTokens => access_tokens::run(&places),
            CloudCommand::Metadata | CloudCommand::Version => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_secrets_have_one_source() {
        CloudProgram::command().debug_assert();
        let code = |words: &[&str]| {
            CloudProgram::try_parse_from(words).map_or_else(|error| error.exit_code(), |_| 0)
        };
        assert_eq!(code(&["fluvio cloud", "login", "--email", "a@b.c", "--password-stdin"]), 0);
        assert_eq!(code(&["fluvio cloud", "login", "--password", "x", "--password-stdin"]), 2);
        assert_eq!(code(&["fluvio cloud", "login", "--token-file", "f", "--email", "a@b.c"]), 2);
        assert_eq!(code(&["fluvio cloud", "cluster", "create", "c", "--profile", "p"]), 2);
        assert_eq!(code(&["fluvio cloud", "cluster", "update", "c"]), 2, "a change of nothing");
        assert_eq!(code(&["fluvio cloud", "cluster", "update", "c", "--spus", "3", "--plan", "large"]), 0);
        let change =
            |words: &[&str]| code(&[&["fluvio cloud", "certificate", "update", "c", "id"], words].concat());
        assert_eq!(change(&[]), 2, "a change of nothing");
        assert_eq!(change(&["--allow", "produce:a", "--allow", "consume:b-*"]), 0);
        assert_eq!(change(&["--allow", "produce:a", "--role", "user"]), 2);
        assert_eq!(change(&["--allow", "orders"]), 2);
        assert_eq!(code(&["fluvio cloud", "certificate", "create", "c"]), 2, "a key must go somewhere");
    }
}
