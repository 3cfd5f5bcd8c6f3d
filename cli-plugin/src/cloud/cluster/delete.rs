//! `fluvio cloud cluster delete`: the name is typed again, because data goes with it.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::cloud::account::{Account, segment};
use crate::cloud::answers::Cluster;
use crate::cloud::api::Call;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::places::Places;

/// Options of `cluster delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The cluster
    name: String,
    /// The name once more, for scripts; else it is asked for
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Delete {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let path = format!("/clusters/{}", segment(&self.name));
        let cluster: Cluster = account.call(&Call::get(&path)).map_err(Failure::from)?;
        let typed = match &self.confirm {
            Some(typed) => typed.clone(),
            None => ask(&cluster)?,
        };
        if typed != cluster.name {
            return Err(Failure::usage(format!(
                "nothing was deleted: `{typed}` is not the name of the cluster"
            ))
            .with_fix(format!("fluvio cloud cluster delete {0} --confirm {0}", cluster.name)));
        }
        let path = format!("/clusters/{}", segment(&cluster.id));
        let deleted: Cluster = account.call(&Call::delete(&path)).map_err(Failure::from)?;
        output::line(&format!("cluster {} is being deleted", deleted.name))?;
        if let Some(until) = deleted.purge_after {
            output::line(&format!("until {until}: fluvio cloud cluster undelete {}", deleted.name))?;
        }
        Ok(0)
    }
}

fn ask(cluster: &Cluster) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("deleting {} needs its name typed again", cluster.name))
            .with_fix(format!("add --confirm {}", cluster.name)));
    }
    let mut stderr = io::stderr().lock();
    let mut answer = String::new();
    write!(stderr, "type {} to delete the cluster and its data: ", cluster.name)
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::failed(format!("the answer could not be read: {error}")))?;
    Ok(answer.trim().to_owned())
}
