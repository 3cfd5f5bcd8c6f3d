//! `fluvio partition list`.

use clap::{Args, Subcommand};
use fluvio::metadata::objects::{ListFilter, ListRequest, Metadata};
use fluvio::metadata::partition::PartitionSpec;
use serde::Serialize;

use super::target::{Target, answer};
use crate::failure::Outcome;
use crate::output::{self, Form, Table};
use crate::places::Places;

/// Look at partitions
#[derive(Debug, Subcommand)]
pub enum PartitionCommand {
    /// List the partitions of all topics
    List(List),
}

/// Options of `partition list`.
#[derive(Debug, Args)]
pub struct List {
    /// Show those of the cluster's own topics
    #[arg(long)]
    system: bool,
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: u32,
    leader: i32,
    replicas: Vec<i32>,
    resolution: String,
    size: i64,
    base_offset: i64,
    hw: i64,
    leo: i64,
    in_sync: u32,
    followers: Vec<String>,
}

impl From<&Metadata<PartitionSpec>> for Row {
    fn from(partition: &Metadata<PartitionSpec>) -> Self {
        // The key is `topic-N`, and a topic's name may hold hyphens of its own.
        let (topic, number) = partition.name.rsplit_once('-').unwrap_or((&partition.name, ""));
        let status = &partition.status;
        Self {
            topic: topic.to_owned(),
            partition: number.parse().unwrap_or_default(),
            leader: partition.spec.leader,
            replicas: partition.spec.replicas.clone(),
            resolution: format!("{:?}", status.resolution),
            size: status.size,
            base_offset: status.base_offset,
            hw: status.leader.hw,
            leo: status.leader.leo,
            in_sync: status.lsr,
            followers: status
                .replicas
                .iter()
                .map(|follower| format!("{}:{}", follower.spu, follower.leo))
                .collect(),
        }
    }
}

impl PartitionCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let Self::List(options) = self;
        let admin = target.admin(places).await?;
        let request =
            ListRequest::<PartitionSpec>::new(Vec::<ListFilter>::new(), false).system(options.system);
        let listing = admin.list_with_config::<PartitionSpec, String>(request);
        let partitions = answer("the partitions cannot be listed", listing).await?;
        let mut rows: Vec<Row> = partitions.iter().map(Row::from).collect();
        rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        output::show(options.output, rows.as_slice(), table)?;
        Ok(0)
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "TOPIC",
        "PARTITION",
        "LEADER",
        "REPLICAS",
        "RESOLUTION",
        "SIZE",
        "BASE",
        "HW",
        "LEO",
        "LRS",
        "FOLLOWERS",
    ]);
    for row in rows {
        table.row([
            row.topic.clone(),
            row.partition.to_string(),
            row.leader.to_string(),
            format!("{:?}", row.replicas),
            row.resolution.clone(),
            u64::try_from(row.size).map(output::bytes).unwrap_or_default(),
            row.base_offset.to_string(),
            row.hw.to_string(),
            row.leo.to_string(),
            row.in_sync.to_string(),
            row.followers.join(" "),
        ]);
    }
    table
}
