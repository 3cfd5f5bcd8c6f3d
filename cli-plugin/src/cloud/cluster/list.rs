//! `fluvio cloud cluster list`.

use clap::Args;

use crate::cloud::account::Account;
use crate::cloud::answers::Cluster;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Form, Table, progress};
use crate::places::Places;

/// Options of `cluster list`.
#[derive(Debug, Args)]
pub struct List {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

impl List {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let clusters: Vec<Cluster> = account.all("/clusters").map_err(Failure::from)?;
        output::show(self.output, clusters.as_slice(), table)?;
        if clusters.is_empty() && self.output == Form::Table {
            progress::note("there is no cluster yet\nnext: fluvio cloud cluster create my-cluster --wait");
        }
        Ok(0)
    }
}

fn table(clusters: &[Cluster]) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "STATE",
        "PLAN",
        "SPUS",
        "PARTITIONS",
        "STORED",
        "REGION",
        "ENDPOINT",
        "REASON",
    ]);
    for cluster in clusters {
        table.row([
            cluster.name.clone(),
            cluster.state.clone(),
            cluster.plan.clone(),
            format!("{}/{}", cluster.spus_ready, cluster.spus),
            cluster.partitions.map(|count| count.to_string()).unwrap_or_default(),
            cluster.storage_bytes.map(output::bytes).unwrap_or_default(),
            cluster.region.clone(),
            cluster.endpoint.clone(),
            cluster.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_is_known_and_dashes_for_the_rest() {
        let clusters: Vec<Cluster> = serde_json::from_value(serde_json::json!([
            { "id": "1", "name": "main", "state": "running", "plan": "small", "spus": 1, "spus_ready": 1, "partitions": 3,
              "storage_bytes": 1_500_000, "endpoint": "gw:9443", "region": "eu", "label": "calm-otter" },
            { "id": "2", "name": "new", "state": "creating", "spus": 3, "reason": null }
        ]))
        .unwrap();
        assert_eq!(
            table(&clusters).render(),
            "NAME  STATE     PLAN   SPUS  PARTITIONS  STORED  REGION  ENDPOINT  REASON\n\
             main  running   small  1/1   3           1.5 MB  eu      gw:9443   -\n\
             new   creating  -      0/3   -           -       -       -         -\n"
        );
    }
}
