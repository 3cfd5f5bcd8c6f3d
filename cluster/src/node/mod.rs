//! The program: reads its configuration, starts an SC, an SPU, or both, and stops in order.

mod address_file;
mod run;
mod spu_settings;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::fs::Mode;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Role};

/// Threads that run tasks. A cluster is one of hundreds on its machine.
const WORKERS: usize = 2;

/// Threads for the disk, and how long an idle one stays.
const DISK_THREADS: usize = 16;
const DISK_THREAD_IDLE: std::time::Duration = std::time::Duration::from_secs(2);

/// Deep enough for the decoders, shallow enough for hundreds of processes.
const STACK_BYTES: usize = 1 << 20;

/// A Fluvio cluster's servers.
#[derive(Debug, Parser)]
#[command(name = "fluvio-cluster", version)]
struct Args {
    #[command(subcommand)]
    role: RoleArgs,
}

#[derive(Debug, Subcommand)]
enum RoleArgs {
    /// The streaming controller and one SPU.
    Node(FileArgs),
    /// The streaming controller.
    Sc(FileArgs),
    /// One stream processing unit.
    Spu(SpuArgs),
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The configuration, a TOML file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct SpuArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The SPU's name in the settings, instead of the configuration's `spu.name`.
    #[arg(long)]
    name: Option<String>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let (role, file, spu_name) = match Args::parse().role {
        RoleArgs::Node(args) => (Role::Node, args.config, None),
        RoleArgs::Sc(args) => (Role::Sc, args.config, None),
        RoleArgs::Spu(args) => (Role::Spu, args.file.config, args.name),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match start(role, file, spu_name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(role: Role, file: PathBuf, spu_name: Option<String>) -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    // Keys and records are nobody else's business; the gateway's sockets get their mode by name.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let config = Config::load(&file, role, spu_name)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(DISK_THREAD_IDLE)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()?;
    let result = runtime.block_on(run::until_stopped(config));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}
