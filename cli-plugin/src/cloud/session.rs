//! What a login leaves on this machine: who is signed in where, by which credential, and the profiles it wrote.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::answers::Tokens;
use crate::failure::{Failure, OrFail};
use crate::profile;

/// An access token this close to its end is not worth sending.
const REFRESH_MARGIN_SECONDS: i64 = 30;

/// The state of the one login this machine remembers.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// The portal.
    pub remote: String,
    /// Whether the person agreed to plain HTTP for it.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// The portal's certificate authority, PEM, where this machine's own are not to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Who signed in.
    pub email: String,
    /// Their organisation's name.
    pub organisation: String,
    /// What proves it; nothing after a logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// The profiles that logins wrote, with the certificates in them.
    #[serde(default)]
    pub profiles: Vec<WrittenProfile>,
}

/// What is shown to the portal with each call. No `Debug`: it must not end up in a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Credential {
    /// A token made for scripts; it does not change.
    ApiToken {
        /// The token itself.
        token: String,
    },
    /// The two tokens of a login.
    Login {
        /// Sent with each call.
        access_token: String,
        /// When that ends, in seconds since 1970.
        expires_at: i64,
        /// Exchanged for the next pair, once.
        refresh_token: String,
    },
}

/// A profile that a login wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenProfile {
    /// Its name in the profile file.
    pub name: String,
    /// The portal whose cluster it is.
    pub remote: String,
    /// The cluster's id there.
    pub cluster_id: String,
    /// The certificate's id there.
    pub certificate_id: String,
    /// When the certificate ends (RFC 3339).
    #[serde(default)]
    pub not_after: Option<String>,
}

impl Credential {
    /// The credential of a fresh login or exchange.
    pub fn from_tokens(tokens: &Tokens, now: OffsetDateTime) -> Self {
        let lifetime = i64::try_from(tokens.expires_in).unwrap_or(0);
        Self::Login {
            access_token: tokens.access_token.clone(),
            expires_at: now.unix_timestamp().saturating_add(lifetime),
            refresh_token: tokens.refresh_token.clone(),
        }
    }

    /// The token to send, if it is still good and not the one that was just turned away.
    pub fn usable_token(&self, now: OffsetDateTime, turned_away: Option<&str>) -> Option<&str> {
        let (token, fresh) = match self {
            Self::ApiToken { token } => (token, true),
            Self::Login { access_token, expires_at, .. } => {
                (access_token, now.unix_timestamp() + REFRESH_MARGIN_SECONDS < *expires_at)
            }
        };
        (fresh && turned_away != Some(token.as_str())).then_some(token.as_str())
    }
}

impl Session {
    /// Remembers a profile, in place of an older one of the same name.
    pub fn remember(&mut self, profile: WrittenProfile) {
        self.profiles.retain(|known| known.name != profile.name);
        self.profiles.push(profile);
    }

    /// What is known of a profile that a login wrote.
    pub fn written(&self, name: &str) -> Option<&WrittenProfile> {
        self.profiles.iter().find(|known| known.name == name)
    }
}

/// Where sessions rest.
#[derive(Debug, Clone)]
pub struct SessionStore {
    folder: PathBuf,
}

impl SessionStore {
    /// A store in this folder, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The remembered session, if there is one.
    pub fn read(&self) -> Result<Option<Session>, Failure> {
        let path = self.file();
        let doing = format!("{} could not be read", path.display());
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .or_fail(&doing)
                .map(Some)
                .map_err(|failure| failure.with_fix("remove the file and run `fluvio cloud login` again")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!("{doing}: {error}"))),
        }
    }

    /// Replaces the session by what `change` makes of it, while no other process can.
    pub fn update<T>(
        &self,
        change: impl FnOnce(Option<Session>) -> Result<(Session, T), Failure>,
    ) -> Result<T, Failure> {
        self.make_folder()?;
        let _lock = profile::lock(&self.folder.join("session.lock"))?;
        let (session, answer) = change(self.read()?)?;
        let text = serde_json::to_string_pretty(&session).or_fail("the session has no JSON form")?;
        profile::write_private(&self.file(), &text)?;
        Ok(answer)
    }

    fn make_folder(&self) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .or_fail(&format!("{} could not be made", self.folder.display()))
    }

    fn file(&self) -> PathBuf {
        self.folder.join("session.json")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    fn login(expires_at: i64) -> Credential {
        Credential::Login { access_token: "a".to_owned(), expires_at, refresh_token: "r".to_owned() }
    }

    #[test]
    fn a_token_is_sent_while_it_is_fresh_and_was_not_turned_away() {
        let api = Credential::ApiToken { token: "a".to_owned() };
        let cases = [
            (login(1_000), 900, None, true),
            (login(1_000), 969, None, true),
            (login(1_000), 970, None, false),
            (login(1_000), 2_000, None, false),
            (login(1_000), 900, Some("a"), false),
            (login(1_000), 900, Some("older"), true),
            (api.clone(), 9_999, None, true),
            (api, 9_999, Some("a"), false),
        ];
        for (credential, now, turned_away, sent) in cases {
            assert_eq!(
                credential.usable_token(at(now), turned_away).is_some(),
                sent,
                "{now} {turned_away:?}"
            );
        }
    }

    #[test]
    fn the_session_is_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = SessionStore::new(&folder.path().join("cloud"));
        assert!(store.read().unwrap().is_none());
        store
            .update(|before| {
                assert!(before.is_none());
                Ok((session(Some(login(1))), ()))
            })
            .unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.file()), 0o600);
        assert_eq!(mode(&store.folder), 0o700);
        assert!(store.read().unwrap().unwrap().credential == Some(login(1)));
    }

    #[test]
    fn a_profile_is_remembered_once() {
        let mut session = session(None);
        for certificate in ["1", "2"] {
            session.remember(WrittenProfile {
                name: "main".to_owned(),
                remote: "https://p".to_owned(),
                cluster_id: "c".to_owned(),
                certificate_id: certificate.to_owned(),
                not_after: None,
            });
        }
        assert_eq!(session.profiles.len(), 1);
        assert_eq!(session.written("main").unwrap().certificate_id, "2");
    }

    fn session(credential: Option<Credential>) -> Session {
        Session {
            remote: "https://p".to_owned(),
            allow_plain_http: false,
            authority: None,
            email: "ada@example.com".to_owned(),
            organisation: "ada".to_owned(),
            credential,
            profiles: Vec::new(),
        }
    }
}
