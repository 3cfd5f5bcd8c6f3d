//! `fluvio cloud cluster undelete`.

use clap::Args;
use serde_json::json;

use crate::cloud::account::{Account, segment};
use crate::cloud::answers::Cluster;
use crate::cloud::api::Call;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places::Places;

/// Options of `cluster undelete`.
#[derive(Debug, Args)]
pub struct Undelete {
    /// The cluster
    name: String,
}

impl Undelete {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let path = format!("/clusters/{}/undelete", segment(&self.name));
        let key = uuid::Uuid::new_v4().to_string();
        let cluster: Cluster =
            account.call(&Call::post(&path, &json!({})).once(&key)).map_err(Failure::from)?;
        output::line(&format!("cluster {} is back, state {}", cluster.name, cluster.state))?;
        Ok(0)
    }
}
