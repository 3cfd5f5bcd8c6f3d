//! The plugin `fluvio-cloud`: `fluvio cloud login` and all that follows from it.

use std::process::ExitCode;

use clap::Parser;
use cli_plugin::cloud::CloudProgram;
use cli_plugin::failure::{Failure, report};

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return report(Err(Failure::failed("the TLS library was set up twice")));
    }
    report(CloudProgram::parse().run())
}
