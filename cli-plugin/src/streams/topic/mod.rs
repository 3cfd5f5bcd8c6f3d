//! `fluvio topic …`: one file per command.

mod add_partition;
mod create;
mod delete;
mod describe;
mod list;

use clap::Subcommand;
use fluvio::FluvioAdmin;
use fluvio::metadata::objects::{ListFilter, ListRequest, Metadata};
use fluvio::metadata::topic::TopicSpec;

use crate::failure::{Failure, Outcome};
use crate::places::Places;
use crate::streams::target::{Target, answer};

/// Create, list, describe and delete topics
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    Create(create::Create),
    /// List the topics
    List(list::List),
    /// Show everything about a topic
    Describe(describe::Describe),
    /// Delete topics and their records
    Delete(delete::Delete),
    /// Give a topic more partitions
    AddPartition(add_partition::AddPartition),
}

impl TopicCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        let admin = target.admin(places).await?;
        match self {
            Self::Create(command) => command.run(&admin).await,
            Self::List(command) => command.run(&admin).await,
            Self::Describe(command) => command.run(&admin).await,
            Self::Delete(command) => command.run(&admin).await,
            Self::AddPartition(command) => command.run(&admin).await,
        }
    }
}

/// All topics, or all system topics.
async fn topics(admin: &FluvioAdmin, system: bool) -> Result<Vec<Metadata<TopicSpec>>, Failure> {
    let request = ListRequest::<TopicSpec>::new(Vec::<ListFilter>::new(), false).system(system);
    answer("the topics cannot be listed", admin.list_with_config::<TopicSpec, String>(request)).await
}

/// The topic of exactly this name, be it a system topic or not.
async fn find(admin: &FluvioAdmin, name: &str) -> Result<Metadata<TopicSpec>, Failure> {
    for system in [false, true] {
        let found = topics(admin, system).await?.into_iter().find(|topic| topic.name == name);
        if let Some(topic) = found {
            return Ok(topic);
        }
    }
    Err(Failure::failed(format!("there is no topic named `{name}`"))
        .with_fix(format!("fluvio topic list, or fluvio topic create {name}")))
}
