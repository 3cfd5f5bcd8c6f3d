//! `fluvio cloud whoami`: who is signed in, asked from the portal and not from memory.

use clap::Args;
use serde::Serialize;

use super::account::Account;
use super::answers::{Me, Organisation, User};
use super::api::Call;
use crate::failure::Outcome;
use crate::output::{self, Form, Table};
use crate::places::Places;

/// Show who is signed in, and where
#[derive(Debug, Args)]
pub struct Whoami {
    /// The form of the answer
    #[arg(long, short = 'O', value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Serialize)]
struct Answer {
    remote: String,
    user: User,
    organisation: Organisation,
}

impl Whoami {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let account = Account::open(places)?;
        let me: Me = account.call(&Call::get("/me"))?;
        let answer =
            Answer { remote: account.remote().to_string(), user: me.user, organisation: me.organisation };
        output::show(self.output, &answer, |answer| {
            Table::of_pairs([
                ("email", answer.user.email.clone()),
                ("organisation", answer.organisation.name.clone()),
                ("role", answer.organisation.role.clone().unwrap_or_else(|| "-".to_owned())),
                ("portal", answer.remote.clone()),
            ])
        })?;
        Ok(0)
    }
}
