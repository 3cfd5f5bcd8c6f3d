//! `fluvio cloud certificate update`: other rights for a certificate that exists.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::rights::{Rights, shown};
use super::{find, path_of};
use crate::cloud::account::Account;
use crate::cloud::answers::Rule;
use crate::cloud::api::Call;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Options of `certificate update`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["allow", "role"]))]
pub struct Update {
    /// The cluster
    cluster: String,
    /// The certificate's id or serial number
    certificate: String,
    #[command(flatten)]
    rights: Rights,
}

/// The portal's answer.
#[derive(Deserialize)]
struct Changed {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
    #[serde(default)]
    certificates: u64,
}

impl Update {
    /// Runs the command.
    pub fn run(&self, account: &Account) -> Outcome {
        let found = find(account, &self.cluster, &self.certificate)?;
        let mut body = json!({});
        self.rights.put_into(&mut body);
        let path = path_of(&self.cluster, &found);
        let changed: Changed = account.call(&Call::patch(&path, &body)).map_err(Failure::from)?;
        let rights = shown(changed.role.as_deref(), changed.rules.as_deref());
        output::line(&format!("certificate {} has the rights {rights}", found.id))?;
        if changed.certificates > 1 {
            let others = changed.certificates - 1;
            output::line(&format!("so have {others} more of the same person's logins, which share them"))?;
        }
        Ok(0)
    }
}
