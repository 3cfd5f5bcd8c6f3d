//! `fluvio topic describe`.

use clap::Args;
use fluvio::FluvioAdmin;
use serde::Serialize;

use super::find;
use crate::failure::Outcome;
use crate::output::{self, Form, Table};

/// Options of `topic describe`.
#[derive(Debug, Args)]
pub struct Describe {
    /// The topic
    name: String,
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Serialize)]
struct Description {
    name: String,
    kind: &'static str,
    partitions: u32,
    replication: Option<u32>,
    retention_seconds: u32,
    segment_size: Option<u32>,
    max_partition_size: Option<u64>,
    compression: String,
    system: bool,
    status: &'static str,
    reason: String,
    /// Partition to the SPUs that keep it.
    replica_map: std::collections::BTreeMap<u32, Vec<i32>>,
}

impl Describe {
    /// Runs the command.
    pub async fn run(&self, admin: &FluvioAdmin) -> Outcome {
        let topic = find(admin, &self.name).await?;
        let storage = topic.spec.get_storage();
        let description = Description {
            kind: topic.spec.type_label(),
            partitions: topic.spec.partitions(),
            replication: topic.spec.replication_factor(),
            retention_seconds: topic.spec.retention_secs(),
            segment_size: storage.and_then(|storage| storage.segment_size),
            max_partition_size: storage.and_then(|storage| storage.max_partition_size),
            compression: topic.spec.get_compression_type().to_string(),
            system: topic.spec.is_system(),
            status: topic.status.resolution().resolution_label(),
            reason: topic.status.reason.clone(),
            replica_map: topic.status.replica_map.clone(),
            name: topic.name,
        };
        output::show(self.output, &description, table)?;
        Ok(0)
    }
}

fn table(topic: &Description) -> Table {
    let or_default = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
    let retention = std::time::Duration::from_secs(topic.retention_seconds.into());
    let replicas: Vec<String> =
        topic.replica_map.iter().map(|(partition, spus)| format!("{partition}: {spus:?}")).collect();
    Table::of_pairs([
        ("name", topic.name.clone()),
        ("kind", topic.kind.to_owned()),
        ("partitions", topic.partitions.to_string()),
        ("replicas", or_default(topic.replication.map(|count| count.to_string()))),
        ("retention", humantime::format_duration(retention).to_string()),
        ("segment size", or_default(topic.segment_size.map(|size| output::bytes(size.into())))),
        ("partition size", or_default(topic.max_partition_size.map(output::bytes))),
        ("compression", topic.compression.clone()),
        ("system", topic.system.to_string()),
        ("status", topic.status.to_owned()),
        ("reason", if topic.reason.is_empty() { "-".to_owned() } else { topic.reason.clone() }),
        ("placement", replicas.join(", ")),
    ])
}
