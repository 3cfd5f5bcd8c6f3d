//! `fluvio topic delete`.

use clap::Args;
use fluvio::FluvioAdmin;
use fluvio::metadata::topic::TopicSpec;

use crate::failure::{Failure, Outcome};
use crate::output::{self, progress};
use crate::streams::target::answer;

/// Options of `topic delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The topics
    #[arg(required = true)]
    names: Vec<String>,
    /// Go on with the other topics when one cannot be deleted
    #[arg(long, short = 'k')]
    continue_on_error: bool,
    /// Delete even a topic of the cluster's own
    #[arg(long, alias = "system", short = 'f')]
    force: bool,
}

impl Delete {
    /// Runs the command.
    pub async fn run(&self, admin: &FluvioAdmin) -> Outcome {
        let mut failed = 0_usize;
        for name in &self.names {
            match self.delete(admin, name).await {
                Ok(()) => output::line(&format!("topic \"{name}\" deleted"))?,
                Err(failure) if self.continue_on_error => {
                    failed += 1;
                    progress::warn(&failure.to_string());
                }
                Err(failure) => return Err(failure),
            }
        }
        if failed == 0 {
            return Ok(0);
        }
        Err(Failure::failed(format!("{failed} of {} topics were not deleted", self.names.len()))
            .with_fix("the warnings above say why"))
    }

    async fn delete(&self, admin: &FluvioAdmin, name: &str) -> Result<(), Failure> {
        let doing = format!("topic {name} was not deleted");
        if self.force {
            answer(&doing, admin.force_delete::<TopicSpec>(name)).await
        } else {
            answer(&doing, admin.delete::<TopicSpec>(name)).await
        }
    }
}
