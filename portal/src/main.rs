//! Accounts, organisations, the web pages and the JSON API: writes what tenants want.

mod accounts;
mod api;
mod app;
mod certificates;
mod clusters;
mod config;
mod db;
mod edge;
mod live;
mod mail;
mod pages;
mod problem;
mod routes;
mod server;
mod show;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::clusters::regions::{self, Described};
use crate::config::{MigrateConfig, OperatorConfig, ServeConfig};

/// The portal of Fluvio Cloud.
#[derive(Parser)]
#[command(name = "portal", version, about)]
struct Opts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the web pages and the JSON API.
    Serve {
        /// The configuration (TOML).
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Bring the database to this program's schema, as the database's owner.
    Migrate {
        /// The configuration (TOML); only `owner_url_file` and `role_password_files` are read.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say who runs the cloud and may see the fleet.
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Say where clusters can run.
    #[command(subcommand)]
    Region(RegionCommand),
}

#[derive(Subcommand)]
enum RegionCommand {
    /// Register a region; one that is known is changed and opened.
    Add(RegionArgs),
    /// Print every region.
    List {
        /// The configuration (TOML); only `database_url_file` is read.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Let a region take no new clusters. Those that it has go on.
    Close {
        /// The configuration (TOML); only `database_url_file` is read.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The region.
        name: String,
    },
}

#[derive(clap::Args)]
struct RegionArgs {
    /// The configuration (TOML); only `database_url_file` is read.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Its name: the provisioner's and the gateways' `region`.
    name: String,
    /// As tenants read it.
    #[arg(long)]
    title: String,
    /// How its clusters run.
    #[arg(long, value_parser = ["process", "kubernetes"])]
    runtime: String,
    /// Where clients reach its gateways.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: String,
}

#[derive(Subcommand)]
enum OperatorCommand {
    /// Make this account an operator.
    Grant(OperatorArgs),
    /// Take the operator's role from this account.
    Revoke(OperatorArgs),
}

#[derive(clap::Args)]
struct OperatorArgs {
    /// The configuration (TOML); only `database_url_file` is read.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The account's email address.
    email: String,
}

fn main() -> ExitCode {
    let opts = Opts::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::warn!("a TLS provider was installed already");
    }
    match run(opts.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Serve { config } => server::serve(ServeConfig::read(&config)?).await,
            Command::Migrate { config } => db::migrate(&MigrateConfig::read(&config)?).await,
            Command::Operator(OperatorCommand::Grant(args)) => operator(args, true).await,
            Command::Operator(OperatorCommand::Revoke(args)) => operator(args, false).await,
            Command::Region(command) => region(command).await,
        }
    })
}

async fn operator(args: OperatorArgs, grant: bool) -> anyhow::Result<()> {
    let config = OperatorConfig::read(&args.config)?;
    accounts::operator::set(&config, &args.email, grant).await?;
    println!("{} {}", args.email, if grant { "is now an operator" } else { "is no operator any more" });
    Ok(())
}

async fn region(command: RegionCommand) -> anyhow::Result<()> {
    match command {
        RegionCommand::Add(args) => {
            let RegionArgs { config, name, title, runtime, endpoint } = &args;
            let described = Described { name, title, runtime, endpoint };
            regions::add(&OperatorConfig::read(config)?, described).await?;
            println!("{name} takes new clusters");
        }
        RegionCommand::List { config } => {
            print!("{}", regions::list(&OperatorConfig::read(&config)?).await?);
        }
        RegionCommand::Close { config, name } => {
            regions::close(&OperatorConfig::read(&config)?, &name).await?;
            println!("{name} takes no new clusters; those that it has go on");
        }
    }
    Ok(())
}
