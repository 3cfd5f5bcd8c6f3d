//! `fluvio-cloud cli-access-tokens`: hands other plugins a token, in the document upstream's hub commands read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::account::Account;
use crate::failure::Outcome;
use crate::output::{self, Form, Table};
use crate::places::Places;

#[derive(Serialize)]
struct AccessTokens {
    remote: String,
    user_access_token: String,
    /// Exactly one: its reader takes the first key for the current organisation.
    org_access_tokens: BTreeMap<String, String>,
}

/// Runs the command.
pub fn run(places: &Places) -> Outcome {
    let account = Account::open(places)?;
    let token = account.token().map_err(crate::failure::Failure::from)?;
    let organisation = account.session()?.organisation;
    let tokens = AccessTokens {
        remote: account.remote().to_string(),
        user_access_token: token.clone(),
        org_access_tokens: BTreeMap::from([(organisation, token)]),
    };
    output::show(Form::Json, &tokens, |_| Table::new(&[]))?;
    Ok(0)
}
