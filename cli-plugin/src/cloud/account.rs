//! Calls in somebody's name: the token is attached, and renewed when it ends.

use serde::de::DeserializeOwned;
use serde_json::json;
use time::OffsetDateTime;

use super::answers::{Page, Tokens};
use super::api::{Api, ApiError, Call};
use super::remote::{PlainHttp, Remote};
use super::session::{Credential, Session, SessionStore};
use crate::failure::Failure;
use crate::places::Places;

/// A list longer than this many pages is not walked to its end.
const PAGE_BOUND: usize = 100;

/// Why a call in somebody's name has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The portal's doing.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// This machine's doing.
    #[error(transparent)]
    Here(#[from] Failure),
}

impl AccountError {
    /// Whether the same call may work a moment later.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Api(ApiError::Unavailable(_) | ApiError::Unreachable { .. }))
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Api(error) => error.into(),
            AccountError::Here(failure) => failure,
        }
    }
}

/// Somebody who is signed in.
pub struct Account {
    api: Api,
    store: SessionStore,
}

impl Account {
    /// Whoever the last login signed in.
    pub fn open(places: &Places) -> Result<Self, Failure> {
        let store = SessionStore::new(&places.cloud);
        let session = store.read()?.filter(|session| session.credential.is_some()).ok_or_else(signed_out)?;
        let consent = if session.allow_plain_http { PlainHttp::Allowed } else { PlainHttp::Refused };
        let remote = Remote::parse(&session.remote, consent)?;
        let api = Api::new(remote, session.authority.as_deref())?;
        Ok(Self { api, store })
    }

    /// An account over a portal and a session that were just made.
    pub fn of(api: Api, store: SessionStore) -> Self {
        Self { api, store }
    }

    /// The portal.
    pub fn remote(&self) -> &Remote {
        self.api.remote()
    }

    /// Where the session rests.
    pub fn store(&self) -> &SessionStore {
        &self.store
    }

    /// The session as it rests now.
    pub fn session(&self) -> Result<Session, Failure> {
        self.store.read()?.ok_or_else(signed_out)
    }

    /// Sends a call and reads its answer.
    pub fn call<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, AccountError> {
        self.with_token(|token| self.api.call(&call.clone().with_token(token)))
    }

    /// Sends a call whose answer has nothing to read.
    pub fn call_for_nothing(&self, call: &Call<'_>) -> Result<(), AccountError> {
        self.with_token(|token| self.api.call_for_nothing(&call.clone().with_token(token)))
    }

    /// All items of a list, page after page.
    pub fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, AccountError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGE_BOUND {
            let page_path = match &cursor {
                Some(cursor) => format!("{path}?cursor={}", segment(cursor)),
                None => path.to_owned(),
            };
            let page: Page<T> = self.call(&Call::get(&page_path))?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// A token that is good now, renewed if need be.
    pub fn token(&self) -> Result<String, AccountError> {
        self.fresh_token(None)
    }

    fn with_token<T>(&self, send: impl Fn(&str) -> Result<T, ApiError>) -> Result<T, AccountError> {
        let token = self.fresh_token(None)?;
        match send(&token) {
            // The portal may have ended it early (a restart with new keys, a revoked session): one more try decides.
            Err(ApiError::Unauthorised(refusal)) => match self.fresh_token(Some(&token)) {
                Ok(renewed) => Ok(send(&renewed)?),
                Err(AccountError::Api(ApiError::Unauthorised(_))) => {
                    Err(ApiError::Unauthorised(refusal).into())
                }
                Err(other) => Err(other),
            },
            answer => Ok(answer?),
        }
    }

    /// The kept token, or the next one: however many processes find it stale, one of them exchanges it (the refresh
    /// token works once) and the others, who wait for the lock, find the new one.
    fn fresh_token(&self, turned_away: Option<&str>) -> Result<String, AccountError> {
        let kept = self.session()?.credential.ok_or_else(signed_out)?;
        if let Some(token) = kept.usable_token(OffsetDateTime::now_utc(), turned_away) {
            return Ok(token.to_owned());
        }
        let mut refused = None;
        let renewed = self.store.update(|session| {
            let mut session = session.ok_or_else(signed_out)?;
            let credential = session.credential.take().ok_or_else(signed_out)?;
            match self.renew(credential.clone(), turned_away) {
                Ok(next) => {
                    let token = next.usable_token(OffsetDateTime::now_utc(), turned_away).map(str::to_owned);
                    session.credential = Some(next);
                    Ok((session, token))
                }
                Err(error) => {
                    refused = Some(error);
                    session.credential = Some(credential);
                    Ok((session, None))
                }
            }
        })?;
        match (renewed, refused) {
            (Some(token), _) => Ok(token),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Err(session_over().into()),
        }
    }

    fn renew(&self, credential: Credential, turned_away: Option<&str>) -> Result<Credential, ApiError> {
        let now = OffsetDateTime::now_utc();
        match &credential {
            Credential::Login { refresh_token, .. }
                if credential.usable_token(now, turned_away).is_none() =>
            {
                let body = json!({ "refresh_token": refresh_token });
                let tokens: Tokens = self.api.call(&Call::post("/token", &body))?;
                Ok(Credential::from_tokens(&tokens, now))
            }
            _ => Ok(credential),
        }
    }
}

/// A name as one part of a URL's path or query.
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn signed_out() -> Failure {
    Failure::failed("nobody is signed in").with_fix("fluvio cloud login")
}

fn session_over() -> Failure {
    Failure::failed("the portal no longer accepts this login").with_fix("fluvio cloud login")
}

#[cfg(test)]
mod tests;
