//! The certificate authority: answers rows of certificate requests with certificates.
//!
//! A program of its own, with its own user, database role and sealing key, and without a listener: a request
//! comes as a row (`certificate_requests`), the answer goes out as a row (`certificates`). Whoever takes over
//! the portal or reads the whole database still cannot sign anything.
//!
//! One request goes through [`policy`] (who may have which names), [`authority`] (the cluster's CA, its key
//! opened by [`seal`]), [`issue`] (the certificate, parsed again before anybody gets it) and [`store`]
//! (the rows, in the order that leaves no certificate without its row).

mod authority;
mod config;
mod confine;
mod csr;
mod issue;
mod key_file;
mod policy;
mod seal;
mod serve;
mod store;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Answers certificate requests of Fluvio Cloud.
#[derive(Parser)]
#[command(name = "signer", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer certificate requests until told to stop.
    Serve {
        /// The TOML file with `database_url_file` and `key_file`.
        #[arg(long)]
        config: PathBuf,
    },
    /// Make a new sealing key. Back it up: without it no kept CA can sign again.
    MakeKey {
        /// Where to write the 32 bytes; an existing file is left alone.
        file: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match arguments.command {
        Command::MakeKey { file } => {
            key_file::make(&file).with_context(|| format!("cannot make the sealing key {}", file.display()))
        }
        Command::Serve { config } => {
            // Before the key is read: nobody may look into this process's memory from then on.
            confine::deny_inspection()
                .context("cannot close this process's memory to debuggers and dumps")?;
            let config = config::Config::read(&config)?;
            let sealer = key_file::read(&config.key_file)
                .with_context(|| format!("cannot use the sealing key {}", config.key_file.display()))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve::serve(&config, sealer))
        }
    }
}
