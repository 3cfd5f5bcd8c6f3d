//! `fluvio cloud cluster pause` and `resume`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cloud::account::{Account, segment};
use crate::cloud::answers::Cluster;
use crate::cloud::api::Call;
use crate::cloud::wait::until_running;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places::Places;

/// Options of `cluster pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// The cluster
    name: String,
}

impl Pause {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let cluster = ask(&account, &self.name, "pause")?;
        output::line(&format!("cluster {} is {}; its data is kept", cluster.name, cluster.state))?;
        output::line(&format!("next: fluvio cloud cluster resume {}", cluster.name))?;
        Ok(0)
    }
}

/// Options of `cluster resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The cluster
    name: String,
    /// Wait until it runs
    #[arg(long)]
    wait: bool,
    /// Seconds that --wait waits
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

impl Resume {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let mut cluster = ask(&account, &self.name, "resume")?;
        if self.wait {
            cluster = until_running(&account, &cluster, Duration::from_secs(self.patience))?;
        }
        output::line(&format!("cluster {} is {}", cluster.name, cluster.state))?;
        Ok(0)
    }
}

fn ask(account: &Account, name: &str, what: &str) -> Result<Cluster, Failure> {
    let path = format!("/clusters/{}/{what}", segment(name));
    let key = uuid::Uuid::new_v4().to_string();
    account.call(&Call::post(&path, &json!({})).once(&key)).map_err(Failure::from)
}
