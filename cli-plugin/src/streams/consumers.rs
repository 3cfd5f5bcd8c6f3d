//! `fluvio consumer list|delete`: the positions that named consumers left in the cluster.

use clap::{Args, Subcommand};
use fluvio::consumer::ConsumerOffset;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::target::{Target, answer};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Form, Table};
use crate::places::Places;

/// See and delete the positions of named consumers
#[derive(Debug, Subcommand)]
pub enum ConsumerCommand {
    /// List the positions
    List(List),
    /// Forget a consumer's positions
    Delete(Delete),
}

/// Options of `consumer list`.
#[derive(Debug, Args)]
pub struct List {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Options of `consumer delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The consumer's name
    name: String,
    /// Only its position in this topic
    #[arg(long, short = 't', value_name = "TOPIC")]
    topic: Option<String>,
    /// Only its position in this partition
    #[arg(long, short = 'p', value_name = "N", requires = "topic")]
    partition: Option<u32>,
}

impl ConsumerCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let (fluvio, _) = target.connect(places).await?;
        let mut offsets = answer("the consumers cannot be listed", fluvio.consumer_offsets()).await?;
        offsets.sort();
        match self {
            Self::List(options) => output::show(options.output, offsets.as_slice(), table)?,
            Self::Delete(options) => {
                let doomed: Vec<_> = offsets.iter().filter(|offset| options.means(offset)).collect();
                if doomed.is_empty() {
                    return Err(Failure::failed(format!("no position of consumer {} is kept", options.name))
                        .with_fix("fluvio consumer list"));
                }
                for offset in doomed {
                    let replica = (offset.topic.clone(), offset.partition);
                    let deleting = fluvio.delete_consumer_offset(options.name.clone(), replica);
                    answer("the position was not deleted", deleting).await?;
                    output::line(&format!(
                        "consumer \"{}\" on {}/{} deleted",
                        options.name, offset.topic, offset.partition
                    ))?;
                }
            }
        }
        Ok(0)
    }
}

impl Delete {
    fn means(&self, offset: &ConsumerOffset) -> bool {
        offset.consumer_id == self.name
            && self.topic.as_ref().is_none_or(|topic| *topic == offset.topic)
            && self.partition.is_none_or(|partition| partition == offset.partition)
    }
}

fn table(offsets: &[ConsumerOffset]) -> Table {
    let mut table = Table::new(&["CONSUMER", "TOPIC", "PARTITION", "OFFSET", "LAST SEEN"]);
    for offset in offsets {
        let seconds = i64::try_from(offset.modified_time).unwrap_or_default();
        let seen =
            OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
        table.row([
            offset.consumer_id.clone(),
            offset.topic.clone(),
            offset.partition.to_string(),
            offset.offset.to_string(),
            seen.unwrap_or_default(),
        ]);
    }
    table
}
