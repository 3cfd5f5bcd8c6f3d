//! `fluvio cloud cluster update`.

use clap::Args;
use serde_json::{Map, Value};

use crate::cloud::account::{Account, segment};
use crate::cloud::answers::Cluster;
use crate::cloud::api::Call;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places::Places;

/// Options of `cluster update`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["spus", "plan"]))]
pub struct Update {
    /// The cluster
    name: String,
    /// How many SPUs it gets
    #[arg(long, value_name = "N")]
    spus: Option<u32>,
    /// What it may use: small, medium or large; a plan only grows
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
}

impl Update {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let path = format!("/clusters/{}", segment(&self.name));
        let cluster: Cluster = account.call(&Call::patch(&path, &self.body())).map_err(Failure::from)?;
        output::line(&format!(
            "cluster {} gets the plan {} and {} SPUs, {} ready now",
            cluster.name, cluster.plan, cluster.spus, cluster.spus_ready
        ))?;
        Ok(0)
    }

    fn body(&self) -> Map<String, Value> {
        let spus = self.spus.map(|spus| ("spus".to_owned(), spus.into()));
        let plan = self.plan.as_ref().map(|plan| ("plan".to_owned(), plan.as_str().into()));
        spus.into_iter().chain(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_is_changed() {
        let update = |spus, plan: Option<&str>| {
            let update = Update { name: "main".into(), spus, plan: plan.map(str::to_owned) };
            Value::Object(update.body()).to_string()
        };
        assert_eq!(update(Some(3), None), r#"{"spus":3}"#);
        assert_eq!(update(None, Some("large")), r#"{"plan":"large"}"#);
    }
}
