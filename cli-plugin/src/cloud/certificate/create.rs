//! `fluvio cloud certificate create`: a certificate for another program or machine, in a profile file of its own.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::rights::{Rights, shown};
use crate::cloud::account::{Account, segment};
use crate::cloud::answers::Issued;
use crate::cloud::api::Call;
use crate::cloud::attach::{SuggestedProfile, entry, prove};
use crate::cloud::key::make_key;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Table};
use crate::profile::{self, Profiles};

/// Options of `certificate create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The cluster
    cluster: String,
    /// Where to write the profile with the key and the certificate; the file must not exist
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// What the certificate is for, as lists show it [default: the file's name]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    #[command(flatten)]
    rights: Rights,
}

impl Create {
    /// Runs the command.
    pub fn run(&self, account: &Account) -> Outcome {
        if self.file.exists() {
            let what = format!("{} exists, and was left as it is", self.file.display());
            return Err(Failure::failed(what).with_fix("name another file with --file"));
        }
        let base = format!("/clusters/{}", segment(&self.cluster));
        let suggested: SuggestedProfile = account.call(&Call::get(&format!("{base}/profile")))?;
        let made = make_key()?;
        let mut body = json!({ "csr": made.request, "label": self.label() });
        self.rights.put_into(&mut body);
        let key = uuid::Uuid::new_v4().to_string();
        let issued: Issued = account.call(&Call::post(&format!("{base}/certificates"), &body).once(&key))?;
        let rights = shown(issued.role.as_deref(), issued.rules.as_deref());
        let (id, not_after) = (issued.id.clone(), issued.not_after.clone().unwrap_or_default());
        let name = suggested.name.clone();
        let mut profiles = Profiles::parse("").map_err(|error| Failure::failed(error.to_string()))?;
        profiles
            .set_cloud_cluster(&name, &entry(&suggested, &made, issued), true)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let revoke = format!("fluvio cloud certificate revoke {} {id}", self.cluster);
        profile::write_private(&self.file, &profiles.to_string())
            .map_err(|failure| failure.with_fix(revoke))?;
        prove(&self.file, &name)?;
        let file = self.file.display().to_string();
        let table = Table::of_pairs([
            ("certificate", id),
            ("rights", rights),
            ("valid until", not_after),
            ("file", file.clone()),
        ]);
        output::print(&table.render())?;
        output::line(&format!("next: FLV_PROFILE_PATH={file} fluvio topic list"))?;
        Ok(0)
    }

    fn label(&self) -> String {
        let of_file = || self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.label.clone().unwrap_or_else(of_file)
    }
}
