//! `fluvio cloud login`: sign in, and leave with a profile that is proven to work.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::account::Account;
use super::answers::{Cluster, Me, Tokens};
use super::api::{Api, Call};
use super::attach::{announce, attach};
use super::remote::{PlainHttp, REMOTE_VARIABLE, Remote};
use super::session::{Credential, Session, SessionStore};
use super::wait::until_running;
use crate::failure::{Failure, Outcome};
use crate::output::{self, progress};
use crate::places::Places;

/// Sign in and set up a profile for your cluster
#[derive(Debug, Args)]
pub struct Login {
    /// The address you signed up with (asked for if it is not given)
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The password; other users of this machine may see it here, so prefer --password-stdin
    #[arg(long, conflicts_with_all = ["password_stdin", "token_file"])]
    password: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long, conflicts_with = "token_file")]
    password_stdin: bool,
    /// Sign in with the API token in this file instead of a password
    #[arg(long, value_name = "FILE", conflicts_with = "email")]
    token_file: Option<PathBuf>,
    /// The portal's address [default: $FLUVIO_CLOUD_REMOTE, else the last login's]
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// Allow http:// to a portal that is not on this machine
    #[arg(long)]
    allow_plain_http: bool,
    /// The certificate authority of a portal whose own is not known to this machine, PEM; it is remembered
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The name of the profile to write [default: the cluster's name]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The cluster to use, if you have several
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Seconds to wait for the cluster to run
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
}

impl Login {
    /// Runs the command.
    pub fn run(&self, places: &Places) -> Outcome {
        let store = SessionStore::new(&places.cloud);
        let remote = self.remote(&store)?;
        let authority = self.authority(&store, &remote)?;
        let api = Api::new(remote, authority.as_deref())?;
        if api.remote().is_exposed() {
            progress::warn(&format!("everyone between here and {} can read this login", api.remote().host()));
        }
        let (credential, me) = match &self.token_file {
            Some(file) => with_token(&api, file)?,
            None => self.with_password(&api)?,
        };
        self.remember(&store, api.remote(), authority, credential, &me)?;
        let account = Account::of(api, store);
        output::line(&format!("signed in to {} as {}", account.remote(), me.user.email))?;
        let clusters: Vec<Cluster> = account.all("/clusters")?;
        let Some(chosen) = choose(&clusters, self.cluster.as_deref())? else {
            output::line("there is no cluster yet")?;
            output::line("next: fluvio cloud cluster create my-cluster --wait")?;
            return Ok(0);
        };
        let cluster = until_running(&account, chosen, Duration::from_secs(self.wait))?;
        let attached = attach(places, &account, &cluster, self.profile.as_deref(), true)?;
        announce(&cluster, &attached, true)?;
        Ok(0)
    }

    fn remote(&self, store: &SessionStore) -> Result<Remote, Failure> {
        let last = store.read()?;
        let agreed = last.as_ref().is_some_and(|session| session.allow_plain_http) && self.remote.is_none();
        let consent = if self.allow_plain_http || agreed { PlainHttp::Allowed } else { PlainHttp::Refused };
        let variable = std::env::var(REMOTE_VARIABLE).ok();
        let last = last.map(|session| session.remote);
        Remote::choose(self.remote.as_deref(), variable.as_deref(), last.as_deref(), consent)
    }

    /// The portal's own authority: from the file that is named, else as the last login at the same portal knew it.
    fn authority(&self, store: &SessionStore, remote: &Remote) -> Result<Option<String>, Failure> {
        let Some(file) = &self.ca_file else {
            let last = store.read()?.filter(|session| session.remote == remote.to_string());
            return Ok(last.and_then(|session| session.authority));
        };
        fs::read_to_string(file).map(Some).map_err(|error| {
            Failure::failed(format!("{} could not be read: {error}", file.display()))
                .with_fix("name the PEM file with the portal's certificate authority")
        })
    }

    fn with_password(&self, api: &Api) -> Result<(Credential, Me), Failure> {
        let email = match &self.email {
            Some(email) => email.clone(),
            None => ask("email: ")?,
        };
        let password = self.password()?;
        let body = json!({ "email": email.trim(), "password": password.as_str() });
        let tokens: Tokens = api.call(&Call::post("/login", &body))?;
        let credential = Credential::from_tokens(&tokens, OffsetDateTime::now_utc());
        Ok((credential, Me { user: tokens.user, organisation: tokens.organisation }))
    }

    fn password(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(password) = &self.password {
            progress::warn("a password on the command line is visible to others; --password-stdin is not");
            return Ok(Zeroizing::new(password.clone()));
        }
        if self.password_stdin {
            let mut line = Zeroizing::new(String::new());
            io::stdin()
                .lock()
                .read_line(&mut line)
                .map_err(|error| Failure::failed(format!("the password could not be read: {error}")))?;
            let password = Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned());
            if password.is_empty() {
                return Err(Failure::usage("standard input holds no password")
                    .with_fix("printf '%s' \"$PASSWORD\" | fluvio cloud login --email … --password-stdin"));
            }
            return Ok(password);
        }
        need_terminal("a password")?;
        rpassword::prompt_password("password: ")
            .map(Zeroizing::new)
            .map_err(|error| Failure::failed(format!("the password could not be read: {error}")))
    }

    fn remember(
        &self,
        store: &SessionStore,
        remote: &Remote,
        authority: Option<String>,
        credential: Credential,
        me: &Me,
    ) -> Result<(), Failure> {
        store.update(|before| {
            let session = Session {
                remote: remote.to_string(),
                allow_plain_http: remote.is_exposed(),
                authority,
                email: me.user.email.clone(),
                organisation: me.organisation.name.clone(),
                credential: Some(credential),
                profiles: before.map(|session| session.profiles).unwrap_or_default(),
            };
            Ok((session, ()))
        })
    }
}

fn with_token(api: &Api, file: &Path) -> Result<(Credential, Me), Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::failed(format!("{} could not be read: {error}", file.display()))
            .with_fix("make a token on the portal's account page and keep it in a file")
    })?;
    let token = text.trim();
    if !token.starts_with("flvc_") || token.contains(char::is_whitespace) {
        return Err(Failure::usage(format!("{} holds no API token", file.display()))
            .with_fix("an API token is one word that starts with flvc_"));
    }
    let me: Me = api.call(&Call::get("/me").with_token(token))?;
    Ok((Credential::ApiToken { token: token.to_owned() }, me))
}

/// The cluster a login is about: the named one, else the oldest that is not going away, as the portal's own default is.
fn choose<'a>(clusters: &'a [Cluster], wanted: Option<&str>) -> Result<Option<&'a Cluster>, Failure> {
    if let Some(wanted) = wanted {
        let found = clusters.iter().find(|cluster| cluster.name == wanted || cluster.id == wanted);
        let names: Vec<_> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        return found.map(Some).ok_or_else(|| {
            let fix = if names.is_empty() {
                "there is none yet".to_owned()
            } else {
                format!("use one of: {}", names.join(", "))
            };
            Failure::failed(format!("signed in, but there is no cluster named {wanted}")).with_fix(fix)
        });
    }
    let staying = clusters.iter().filter(|cluster| !matches!(cluster.state.as_str(), "deleting" | "deleted"));
    Ok(staying.min_by(|a, b| a.created_at.cmp(&b.created_at)))
}

fn ask(question: &str) -> Result<String, Failure> {
    need_terminal("an email address")?;
    let mut stderr = io::stderr().lock();
    let mut answer = String::new();
    write!(stderr, "{question}")
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::failed(format!("the answer could not be read: {error}")))?;
    let answer = answer.trim();
    if answer.is_empty() { Err(Failure::usage("no email address was given")) } else { Ok(answer.to_owned()) }
}

fn need_terminal(what: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!("{what} is needed and there is no terminal to ask on"))
        .with_fix("fluvio cloud login --email ADDRESS --password-stdin, or --token-file FILE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, state: &str, created_at: &str) -> Cluster {
        serde_json::from_value(
            json!({ "id": format!("id-{name}"), "name": name, "state": state, "created_at": created_at }),
        )
        .unwrap()
    }

    #[test]
    fn a_login_is_about_the_named_cluster_or_the_oldest_that_stays() {
        let clusters = [
            cluster("young", "running", "2026-03-01T00:00:00Z"),
            cluster("gone", "deleting", "2026-01-01T00:00:00Z"),
            cluster("old", "creating", "2026-02-01T00:00:00Z"),
        ];
        let name = |wanted| choose(&clusters, wanted).unwrap().map(|cluster| cluster.name.as_str());
        assert_eq!(name(None), Some("old"));
        assert_eq!(name(Some("young")), Some("young"));
        assert_eq!(name(Some("id-young")), Some("young"));
        assert!(choose(&clusters, Some("none")).is_err());
        assert!(choose(&[], None).unwrap().is_none());
    }
}
