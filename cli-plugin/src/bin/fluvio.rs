//! A small `fluvio`, so that `fluvio cloud login` and all that follows works on a machine without upstream's CLI.

use std::process::ExitCode;

use cli_plugin::failure::{Failure, report};
use cli_plugin::host::HostProgram;

fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return report(Err(Failure::failed("the TLS library was set up twice")));
    }
    report(HostProgram::from_command_line().run())
}
