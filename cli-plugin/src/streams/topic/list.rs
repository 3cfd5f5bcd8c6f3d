//! `fluvio topic list`.

use clap::Args;
use fluvio::FluvioAdmin;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::topic::TopicSpec;
use serde::Serialize;

use super::topics;
use crate::failure::Outcome;
use crate::output::{self, Form, Table, progress};

/// Options of `topic list`.
#[derive(Debug, Args)]
pub struct List {
    /// Show the cluster's own topics
    #[arg(long)]
    system: bool,
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// One topic in the list.
#[derive(Debug, Serialize)]
pub struct Row {
    name: String,
    partitions: u32,
    replication: Option<u32>,
    retention_seconds: u32,
    compression: String,
    status: String,
    reason: String,
}

impl From<&Metadata<TopicSpec>> for Row {
    fn from(topic: &Metadata<TopicSpec>) -> Self {
        Self {
            name: topic.name.clone(),
            partitions: topic.spec.partitions(),
            replication: topic.spec.replication_factor(),
            retention_seconds: topic.spec.retention_secs(),
            compression: topic.spec.get_compression_type().to_string(),
            status: topic.status.resolution().resolution_label().to_owned(),
            reason: topic.status.reason.clone(),
        }
    }
}

impl List {
    /// Runs the command.
    pub async fn run(&self, admin: &FluvioAdmin) -> Outcome {
        let mut rows: Vec<Row> = topics(admin, self.system).await?.iter().map(Row::from).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        output::show(self.output, rows.as_slice(), table)?;
        if rows.is_empty() && self.output == Form::Table {
            progress::note("there is no topic yet\nnext: fluvio topic create my-topic");
        }
        Ok(0)
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table =
        Table::new(&["NAME", "PARTITIONS", "REPLICAS", "RETENTION", "COMPRESSION", "STATUS", "REASON"]);
    for row in rows {
        let retention = std::time::Duration::from_secs(row.retention_seconds.into());
        table.row([
            row.name.clone(),
            row.partitions.to_string(),
            row.replication.map(|count| count.to_string()).unwrap_or_default(),
            humantime::format_duration(retention).to_string(),
            row.compression.clone(),
            row.status.clone(),
            row.reason.clone(),
        ]);
    }
    table
}
