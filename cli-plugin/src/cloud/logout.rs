//! `fluvio cloud logout`: end the session at the portal and forget its tokens here.

use clap::Args;
use serde_json::json;

use super::account::{Account, segment};
use super::api::Call;
use super::session::{Credential, SessionStore, WrittenProfile};
use crate::failure::{Failure, Outcome};
use crate::output::{self, progress};
use crate::places::Places;
use crate::profile;

/// Sign out; profiles keep working unless --purge takes them along
#[derive(Debug, Args)]
pub struct Logout {
    /// Also remove the profiles that logins wrote, and revoke their certificates
    #[arg(long)]
    purge: bool,
}

impl Logout {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let store = SessionStore::new(&places.cloud);
        let Some(session) = store.read()? else {
            output::line("nobody was signed in")?;
            return Ok(0);
        };
        let account = session.credential.is_some().then(|| Account::open(places)).transpose()?;
        let removed =
            if self.purge { purge(places, account.as_ref(), &session.profiles)? } else { Vec::new() };
        if let (Some(account), Some(Credential::Login { refresh_token, .. })) =
            (&account, &session.credential)
        {
            end_session(account, refresh_token);
        }
        let was_in = session.credential.is_some();
        store.update(|before| {
            let mut session = before.unwrap_or(session);
            session.credential = None;
            if self.purge {
                session.profiles.clear();
            }
            Ok((session, ()))
        })?;
        output::line(if was_in { "signed out" } else { "nobody was signed in" })?;
        for name in removed {
            output::line(&format!("removed profile {name}"))?;
        }
        Ok(0)
    }
}

/// The tokens are forgotten here whatever the portal says, so its silence is only worth a warning.
fn end_session(account: &Account, kept_refresh_token: &str) {
    // Sending the call may have renewed the tokens; the newest refresh token is the one to end.
    let renewed = account.token().and_then(|_| Ok(account.session()?)).ok();
    let refresh_token = match renewed.and_then(|session| session.credential) {
        Some(Credential::Login { refresh_token, .. }) => refresh_token,
        _ => kept_refresh_token.to_owned(),
    };
    let body = json!({ "refresh_token": refresh_token });
    if let Err(error) = account.call_for_nothing(&Call::post("/logout", &body)) {
        progress::warn(&format!(
            "the portal was not told of the logout ({error}); its session ends by itself"
        ));
    }
}

fn purge(
    places: &Places,
    account: Option<&Account>,
    written: &[WrittenProfile],
) -> Result<Vec<String>, Failure> {
    for known in written {
        match account.filter(|account| account.remote().to_string() == known.remote) {
            Some(account) => revoke(account, known),
            None => progress::warn(&format!(
                "the certificate of profile {} was not revoked: that needs a login to {}",
                known.name, known.remote
            )),
        }
    }
    if written.is_empty() {
        return Ok(Vec::new());
    }
    profile::update(&places.profiles, |profiles| {
        // Renamed or removed by hand meanwhile: not ours to delete any more.
        let mut removed = Vec::new();
        for known in written {
            if profiles.is_cloud(&known.name) && profiles.delete(&known.name).is_ok() {
                removed.push(known.name.clone());
            }
        }
        Ok(removed)
    })
}

fn revoke(account: &Account, known: &WrittenProfile) {
    let path =
        format!("/clusters/{}/certificates/{}", segment(&known.cluster_id), segment(&known.certificate_id));
    if let Err(error) = account.call_for_nothing(&Call::delete(&path)) {
        progress::warn(&format!("the certificate of profile {} was not revoked: {error}", known.name));
    }
}
