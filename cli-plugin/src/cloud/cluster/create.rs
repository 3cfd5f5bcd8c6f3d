//! `fluvio cloud cluster create`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cloud::account::Account;
use crate::cloud::answers::Cluster;
use crate::cloud::api::Call;
use crate::cloud::attach::{announce, attach};
use crate::cloud::wait::until_running;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places::Places;

/// Options of `cluster create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The cluster's name
    name: String,
    /// How many SPUs it gets
    #[arg(long, value_name = "N")]
    spus: Option<u32>,
    /// What it may use: small, medium or large
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Where it runs [default: the portal's choice]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Wait until it runs, then write its profile and prove it
    #[arg(long)]
    wait: bool,
    /// The name of the profile that --wait writes [default: the cluster's name]
    #[arg(long, value_name = "NAME", requires = "wait")]
    profile: Option<String>,
    /// Seconds that --wait waits
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
}

impl Create {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let mut body = json!({ "name": self.name });
        if let Some(spus) = self.spus {
            body["spus"] = spus.into();
        }
        if let Some(plan) = &self.plan {
            body["plan"] = plan.as_str().into();
        }
        if let Some(region) = &self.region {
            body["region"] = region.as_str().into();
        }
        let key = uuid::Uuid::new_v4().to_string();
        let created: Cluster =
            account.call(&Call::post("/clusters", &body).once(&key)).map_err(Failure::from)?;
        output::line(&format!("cluster {} is being created", created.name))?;
        if !self.wait {
            output::line(&format!("next: fluvio cloud cluster sync {}", created.name))?;
            return Ok(0);
        }
        let cluster = until_running(&account, &created, Duration::from_secs(self.patience))?;
        let attached = attach(places, &account, &cluster, self.profile.as_deref(), true)?;
        announce(&cluster, &attached, true)?;
        Ok(0)
    }
}
