//! `fluvio-cloud metadata`: what a host program asks each plugin.

use serde::Serialize;

use crate::failure::Outcome;
use crate::output::{self, Form, Table};

#[derive(Serialize)]
struct Metadata {
    title: &'static str,
    /// None: we are not in upstream's package index, and `fluvio update` must not put another program in our place.
    package: Option<&'static str>,
    description: &'static str,
    version: &'static str,
}

/// Runs the command.
pub fn run() -> Outcome {
    let metadata = Metadata {
        title: "Fluvio Cloud",
        package: None,
        description: "Log in to Fluvio Cloud and manage your clusters",
        version: env!("CARGO_PKG_VERSION"),
    };
    output::show(Form::Json, &metadata, |_| Table::new(&[]))?;
    Ok(0)
}
