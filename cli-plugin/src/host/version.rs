//! `fluvio version`.

use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::extension::Extensions;
use super::wait_for;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Table};
use crate::places::Places;
use crate::streams::target::Target;

/// The cluster's version is a courtesy; nobody waits long for it.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// The published client inside, which does not tell its version.
const CLIENT_VERSION: &str = "0.50.1";

/// Print the versions of this program, its extensions and the cluster
#[derive(Debug, Args)]
pub struct Version {}

impl Version {
    /// Runs the command.
    pub fn run(&self, target: &Target, places: &Places) -> Outcome {
        let mut table = Table::new(&["WHAT", "VERSION"]);
        table.row(["fluvio".to_owned(), env!("CARGO_PKG_VERSION").to_owned()]);
        table.row(["client".to_owned(), CLIENT_VERSION.to_owned()]);
        for (name, metadata) in Extensions::of(places).known() {
            table.row([name, metadata.map(|metadata| metadata.version).unwrap_or_default()]);
        }
        table.row(["cluster".to_owned(), cluster(target, places)]);
        output::print(&table.render())?;
        Ok(0)
    }
}

fn cluster(target: &Target, places: &Places) -> String {
    let mut version = "not connected".to_owned();
    let asking = async {
        let asked = timeout(ASK_TIMEOUT, target.connect(places)).await;
        if let Ok((fluvio, _)) = asked.unwrap_or_else(|_| Err(Failure::failed("no answer"))) {
            version = fluvio.platform_version().to_string();
        }
        Ok(0)
    };
    match wait_for(asking) {
        Ok(_) => version,
        Err(failure) => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::CLIENT_VERSION;

    #[test]
    fn the_clients_version_is_the_one_that_is_built_in() {
        let manifest = include_str!("../../../Cargo.toml");
        let pinned = format!("fluvio = {{ version = \"={CLIENT_VERSION}\"");
        assert!(manifest.contains(&pinned), "{pinned}");
    }
}
