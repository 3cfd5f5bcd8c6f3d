//! What can go wrong, enumerated by what the person or program on the other side does next. A handler returns
//! a [`Problem`]; the layer of its router shows it as a page or as `application/problem+json`
//! (`edge::errors`). Internals are logged and never shown.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A refusal that says what happened and what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// The request's form is wrong (400): send another.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The request was understood and a value in it is not acceptable (422).
    #[error("invalid {field}: {detail}")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
        /// What would be right.
        fix: String,
    },
    /// Sign in first, or again (401).
    #[error("not signed in: {0}")]
    SignIn(&'static str),
    /// Known, but not allowed (403).
    #[error("refused: {detail}")]
    Refused {
        /// What was refused.
        detail: String,
        /// How it would be allowed.
        fix: String,
    },
    /// Not there, or somebody else's (404): the two look the same.
    #[error("no such {0}")]
    Missing(&'static str),
    /// The world is not as the request assumes (409).
    #[error("conflict: {detail}")]
    Conflict {
        /// What is in the way.
        detail: String,
        /// What to do about it.
        fix: String,
    },
    /// Too fast (429): try again after so many seconds.
    #[error("too many requests")]
    TooMany(u32),
    /// The portal or a part that it needs is busy or away (503): the same request may succeed later.
    #[error("unavailable: {detail}")]
    Unavailable {
        /// What is away, and what is not touched by that.
        detail: &'static str,
        /// When to try again.
        retry_after: u32,
    },
    /// Any other status of the web server itself, such as 405 or 413.
    #[error("http status {0}")]
    Http(StatusCode),
    /// A fault of ours (500). The cause is in the log under the request's id.
    #[error("internal error")]
    Internal,
}

/// What a person or program reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The HTTP status.
    pub status: StatusCode,
    /// The problem's kind: the last part of its `type`.
    pub kind: &'static str,
    /// What kind of thing happened.
    pub title: &'static str,
    /// What happened.
    pub detail: String,
    /// What to do next.
    pub fix: String,
    /// Seconds until another try makes sense.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// The database does not answer.
    pub const DATABASE_AWAY: Problem = Problem::Unavailable {
        detail: "The cloud's database does not answer. Running clusters and open connections are not \
                 affected; sign-ups and changes wait.",
        retry_after: 5,
    };

    /// This portal is about to stop.
    pub const STOPPING: Problem = Problem::Unavailable {
        detail: "This portal stops. Others go on, or it is back in a moment.",
        retry_after: 1,
    };

    /// A value that is not acceptable.
    pub fn invalid(field: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Invalid { field, detail: detail.into(), fix: fix.into() }
    }

    /// Something in the way.
    pub fn conflict(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Conflict { detail: detail.into(), fix: fix.into() }
    }

    /// Not allowed.
    pub fn refused(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Problem::Refused { detail: detail.into(), fix: fix.into() }
    }

    /// A fault of ours; the cause goes to the log.
    pub fn internal(error: &(dyn std::fmt::Display + Send + Sync)) -> Self {
        tracing::error!("internal error: {error}");
        Problem::Internal
    }

    /// The words for it.
    pub fn shown(&self) -> Shown {
        let (status, kind, title) = self.title();
        let (detail, fix) = self.words();
        let retry_after = match self {
            Problem::TooMany(seconds) | Problem::Unavailable { retry_after: seconds, .. } => Some(*seconds),
            _ => None,
        };
        Shown { status, kind, title, detail, fix, retry_after }
    }

    /// What kind of thing happened.
    fn title(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Problem::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Problem::Invalid { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not acceptable")
            }
            Problem::SignIn(_) => (StatusCode::UNAUTHORIZED, "sign-in", "Sign in first"),
            Problem::Refused { .. } => (StatusCode::FORBIDDEN, "refused", "Not allowed"),
            Problem::Missing(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Problem::Conflict { .. } => (StatusCode::CONFLICT, "conflict", "Something is in the way"),
            Problem::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests"),
            Problem::Unavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available right now")
            }
            Problem::Http(status) => (*status, "http", status.canonical_reason().unwrap_or("Not possible")),
            Problem::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of ours"),
        }
    }

    /// What happened, and what to do next.
    fn words(&self) -> (String, String) {
        let fixed = |detail: &str, fix: &str| (detail.to_owned(), fix.to_owned());
        match self {
            Problem::Invalid { detail, fix, .. }
            | Problem::Refused { detail, fix }
            | Problem::Conflict { detail, fix } => (detail.clone(), fix.clone()),
            Problem::Malformed(detail) => fixed(detail, "Compare the request with /api/v1/openapi.json."),
            Problem::SignIn(detail) => {
                fixed(detail, "Sign in again: `fluvio cloud login`, or the login page.")
            }
            Problem::Missing(what) => (
                format!("There is no such {what} here."),
                "Check the name or the link. What belongs to another organisation is not found either."
                    .into(),
            ),
            Problem::TooMany(seconds) => (
                "There were too many attempts in a short time. Nothing was changed.".into(),
                format!("Wait {seconds} s and try again."),
            ),
            Problem::Unavailable { detail, retry_after } => {
                ((*detail).to_owned(), format!("Try again in {retry_after} s."))
            }
            Problem::Http(status) => fixed(http_detail(*status), "Check the address and the method."),
            Problem::Internal => fixed(
                "The portal could not finish this. Clusters are not affected.",
                "Try again; if it stays, tell the operator the request id.",
            ),
        }
    }
}

fn http_detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "This address does not take that method.",
        StatusCode::PAYLOAD_TOO_LARGE => "The request is larger than the portal reads.",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "The request took too long.",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "The request's content type is not one that is read here.",
        _ => "The request cannot be served.",
    }
}

/// Which of the database's codes are of failures that go away by themselves: 08 connection, 53 resources,
/// 57 operator intervention (shutdown, starting up), 40 lost a race, 25006 a standby that is not the primary yet.
fn passes(code: &str) -> bool {
    ["08", "53", "57", "40", "25006"].iter().any(|start| code.starts_with(start))
}

/// Which of the database's failures go away by themselves.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| passes(&code)),
        _ => false,
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) {
            tracing::warn!("the database does not answer: {error}");
            return Problem::DATABASE_AWAY;
        }
        Problem::internal(&error)
    }
}

impl IntoResponse for Problem {
    /// A bare status with the problem attached; the router's layer gives it its face.
    fn into_response(self) -> Response {
        let mut response = self.shown().status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_replaced_is_waited_for_and_a_wrong_statement_is_not() {
        for (code, passing) in [
            ("08006", true),
            ("57P03", true),
            ("25006", true),
            ("40001", true),
            ("25P02", false),
            ("23505", false),
        ] {
            assert_eq!(passes(code), passing, "{code}");
        }
    }

    #[test]
    fn every_problem_says_what_happened_and_what_to_do_next() {
        for (problem, status) in [
            (Problem::Malformed("There is no body.".into()), 400),
            (Problem::invalid("name", "Too long.", "Use 32 letters at most."), 422),
            (Problem::SignIn("The session ended."), 401),
            (Problem::refused("No.", "Ask."), 403),
            (Problem::Missing("cluster"), 404),
            (Problem::conflict("Taken.", "Choose another."), 409),
            (Problem::TooMany(7), 429),
            (Problem::DATABASE_AWAY, 503),
            (Problem::Http(StatusCode::METHOD_NOT_ALLOWED), 405),
            (Problem::Internal, 500),
        ] {
            let shown = problem.shown();
            assert_eq!(shown.status.as_u16(), status);
            assert!(
                !shown.title.is_empty() && shown.detail.ends_with('.') && shown.fix.ends_with('.'),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn a_missing_row_of_the_database_is_our_fault_and_a_lost_connection_is_not() {
        assert!(!is_away(&sqlx::Error::RowNotFound));
        assert!(is_away(&sqlx::Error::PoolTimedOut));
        assert!(is_away(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())));
    }
}
