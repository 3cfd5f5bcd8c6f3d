//! A request that shall be done once however often it is sent: what a handler that makes something must know of its
//! `Idempotency-Key`.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::idempotency;
use crate::problem::Problem;

/// Where a request stands among those with its key.
#[derive(Debug, Clone, Default)]
pub enum Once {
    /// It has no key.
    #[default]
    Unkeyed,
    /// It is the first.
    First {
        /// Whose key it is.
        user_id: Uuid,
        /// The key.
        key: String,
    },
    /// One before it made this, and its answer is not known.
    Again(Uuid),
}

impl Once {
    /// Says what is made, in the transaction that makes it.
    pub async fn note_made(&self, connection: &mut PgConnection, made: Uuid) -> Result<(), Problem> {
        let Once::First { user_id, key } = self else { return Ok(()) };
        if idempotency::note_made(connection, *user_id, key, made).await? {
            return Ok(());
        }
        Err(under_way())
    }
}

/// Put into the request by the layer that reads the key.
impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Once>().cloned().unwrap_or_default())
    }
}

/// Two requests with one key at the same time.
pub fn under_way() -> Problem {
    Problem::conflict(
        "The first request with this Idempotency-Key is still under way.",
        "Try again in a few seconds with the same key.",
    )
}

/// What a retry is told in place of an answer that holds a secret.
pub fn shown_once() -> Problem {
    Problem::conflict(
        "The first request with this Idempotency-Key was done. Its secret was shown once and is not kept.",
        "If the secret did not arrive, revoke what was made and ask again with a new key.",
    )
}
