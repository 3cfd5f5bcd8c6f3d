//! `fluvio topic add-partition`.

use std::time::Duration;

use clap::Args;
use fluvio::FluvioAdmin;
use fluvio::metadata::topic::{AddPartition as Change, TopicSpec, UpdateTopicAction};
use tokio::time::{Instant, sleep};

use super::find;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::streams::target::answer;

const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

/// Options of `topic add-partition`.
#[derive(Debug, Args)]
pub struct AddPartition {
    /// The topic
    name: String,
    /// How many to add
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1)]
    count: u32,
}

impl AddPartition {
    /// Runs the command.
    pub async fn run(&self, admin: &FluvioAdmin) -> Outcome {
        let before = find(admin, &self.name).await?.spec.partitions();
        let change = UpdateTopicAction::AddPartition(Change { count: self.count });
        let doing = format!("topic {} got no more partitions", self.name);
        answer(&doing, admin.update::<TopicSpec>(self.name.clone(), change)).await?;
        let wanted = before.saturating_add(self.count);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let topic = find(admin, &self.name).await?;
            let placed = topic.status.replica_map.len();
            if u32::try_from(placed).is_ok_and(|placed| placed >= wanted) {
                output::line(&format!("topic \"{}\" has {placed} partitions", self.name))?;
                return Ok(0);
            }
            if Instant::now() >= deadline {
                return Err(Failure::failed(format!(
                    "topic {} should have {wanted} partitions, but only {placed} are placed: {}",
                    self.name, topic.status.reason
                ))
                .with_fix(format!("fluvio topic describe {}", self.name)));
            }
            sleep(POLL).await;
        }
    }
}
