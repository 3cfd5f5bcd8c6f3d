//! The `provisioner` program.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use provisioner::config::Config;
use provisioner::kubernetes::render::{RenderArguments, render};
use provisioner::process::{LaunchArguments, launch_and_become};
use tracing_subscriber::EnvFilter;

/// Keeps the clusters of Fluvio Cloud on this machine.
#[derive(Parser)]
#[command(name = "provisioner", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keep clusters until told to stop.
    Serve {
        /// The TOML file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Print every Kubernetes object of an imaginary tenant.
    Render(RenderArguments),
    /// Become a cluster process. Only the provisioner itself calls this.
    #[command(hide = true)]
    Launch(LaunchArguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Launch(arguments) => Err(launch_and_become(&arguments).into()),
        Command::Render(arguments) => {
            print!("{}", render(&arguments)?);
            Ok(())
        }
        Command::Serve { config } => {
            // What fails there is told once, by whoever asked.
            let usual = "info,kube_client::client::builder=off";
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
            let colours = std::io::stderr().is_terminal();
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_ansi(colours)
                .with_writer(std::io::stderr)
                .init();
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let config = Config::read(&config)?;
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?
                .block_on(provisioner::serve::serve(config))
        }
    }
}
