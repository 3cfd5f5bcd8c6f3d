//! The whole cloud on one machine: `fluvio-cloud-local up` starts a Postgres of its own, the signer, the
//! gateway, the portal and the provisioner, keeps them alive, and stops them in order.
//!
//! It owns the state folder and the processes, and nothing of what they do: every program gets a
//! configuration file, as it would on any other machine.

mod configuration;
mod database;
mod left_over;
mod ports;
mod reach;
mod state;
mod supervisor;
mod up;
mod walls;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Fluvio Cloud on one machine.
#[derive(Debug, Parser)]
#[command(name = "fluvio-cloud-local", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the whole cloud on loopback until Ctrl-C or SIGTERM.
    Up(UpOptions),
    /// Give an account the operator's role (the fleet page), or take it away.
    Operator(OperatorOptions),
}

/// What `up` can be told.
#[derive(Debug, Args)]
pub struct UpOptions {
    /// Folder that holds everything: database, keys, clusters, logs. A second start finds its state again.
    #[arg(long, default_value_os_t = state::default_folder())]
    pub state: PathBuf,
    /// Port of the portal on loopback; 0 picks a free one the first time and keeps it.
    #[arg(long, default_value_t = 8080)]
    pub portal_port: u16,
    /// Port of the gateway on loopback; 0 picks a free one the first time and keeps it.
    #[arg(long, default_value_t = 9443)]
    pub gateway_port: u16,
    /// Folder with the built programs; by default the folder of this one.
    #[arg(long)]
    pub programs: Option<PathBuf>,
    /// File with the URL of a database server's superuser, to use instead of a Postgres of our own.
    #[arg(long)]
    pub database_url_file: Option<PathBuf>,
    /// How long a deleted cluster can be brought back, in seconds.
    #[arg(long, default_value_t = 7 * 24 * 3600)]
    pub delete_grace_seconds: u64,
    /// Bytes that stay free on the disk, whatever tenants produce.
    #[arg(long, default_value_t = 1 << 30)]
    pub host_reserve_bytes: u64,
}

#[derive(Debug, Args)]
struct OperatorOptions {
    /// `grant` or `revoke`.
    #[arg(value_parser = ["grant", "revoke"])]
    change: String,
    /// The account's address.
    email: String,
    /// The state folder of the cloud.
    #[arg(long, default_value_os_t = state::default_folder())]
    state: PathBuf,
    /// Folder with the built programs; by default the folder of this one.
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn")),
        )
        .init();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Up(options) => up::up(options).await,
        Command::Operator(options) => {
            let programs = up::programs_folder(options.programs)?;
            let state = state::State::open_existing(&options.state)?;
            let status = tokio::process::Command::new(programs.join("portal"))
                .args(["operator", &options.change, "--config"])
                .arg(state.configuration("portal"))
                .arg(&options.email)
                .status()
                .await?;
            anyhow::ensure!(status.success(), "the role was not changed");
            Ok(())
        }
    }
}
