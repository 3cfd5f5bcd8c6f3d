//! The limits of each principal: what the form on a cluster's page asks for.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::accounts::person::SignedIn;
use crate::app::App;
use crate::clusters;
use crate::clusters::change::{self, Change};
use crate::clusters::principal_limits::PrincipalLimits;
use crate::edge::form::ProtectedForm;
use crate::pages::cluster::{self, Asked};
use crate::pages::view::Fault;
use crate::problem::Problem;

/// The form's fields as typed: bytes in KiB, and nothing for no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fields {
    /// KiB a second that it sends.
    pub bytes_in: String,
    /// KiB a second that it is sent.
    pub bytes_out: String,
    /// Requests a second.
    pub requests: String,
    /// Connections at once.
    pub connections: String,
}

impl Fields {
    /// What is in force, to be changed.
    pub fn of(limits: PrincipalLimits) -> Self {
        // Rounded up, so that a limit that the API set is not tightened by a look at it.
        let kib = |bytes: Option<i64>| text(bytes.map(|bytes| (bytes - 1) / 1024 + 1));
        Fields {
            bytes_in: kib(limits.bytes_in_per_second),
            bytes_out: kib(limits.bytes_out_per_second),
            requests: text(limits.requests_per_second.map(Into::into)),
            connections: text(limits.connections.map(Into::into)),
        }
    }

    /// What is asked for. What is no number is refused in the words for one that is too small.
    fn wanted(&self) -> PrincipalLimits {
        let number = |text: &str| {
            let text = text.trim();
            (!text.is_empty()).then(|| text.parse::<i64>().unwrap_or(0))
        };
        let bytes = |text| number(text).map(|kib| kib.checked_mul(1024).unwrap_or(0));
        let small = |text| number(text).map(|number| i32::try_from(number).unwrap_or(0));
        PrincipalLimits {
            bytes_in_per_second: bytes(&self.bytes_in),
            bytes_out_per_second: bytes(&self.bytes_out),
            requests_per_second: small(&self.requests),
            connections: small(&self.connections),
        }
    }
}

fn text(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// `POST /clusters/{id}/principals`.
pub async fn submit(
    State(app): State<App>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    ProtectedForm(fields): ProtectedForm<Fields>,
) -> Result<Response, Problem> {
    let row = clusters::find(&app, signed_in.person.organisation_id, &id).await?;
    let change = Change { principals: Some(fields.wanted()), ..Change::default() };
    match change::update(&app, &signed_in.person, &row, change).await {
        Ok(()) => Ok(Redirect::to(&format!("/clusters/{}", row.id)).into_response()),
        Err(problem @ (Problem::Invalid { .. } | Problem::Conflict { .. })) => {
            let fault = Fault::of(&problem);
            let asked = Asked { principals: Some(fields), fault, ..Asked::default() };
            Ok(super::with_problem(cluster::page(&app, &signed_in, &id, asked).await?, &problem))
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_what_is_asked_for_and_shown_again() {
        let fields = |bytes: &str, requests: &str, connections: &str| Fields {
            bytes_in: bytes.into(),
            bytes_out: String::new(),
            requests: requests.into(),
            connections: connections.into(),
        };
        let wanted = fields("1024", "500", "8").wanted();
        let expected = PrincipalLimits {
            bytes_in_per_second: Some(1 << 20),
            bytes_out_per_second: None,
            requests_per_second: Some(500),
            connections: Some(8),
        };
        assert_eq!(wanted, expected);
        assert_eq!(Fields::of(wanted), fields("1024", "500", "8"));
        assert_eq!(fields("", " ", "").wanted(), PrincipalLimits::default());
        for wrong in ["x", "-1", "1.5", "9223372036854775807", "99999999999999999999"] {
            let wanted = fields(wrong, wrong, wrong).wanted();
            assert!(wanted.check().is_err(), "{wrong}");
        }
        let odd = PrincipalLimits { bytes_in_per_second: Some(100_000), ..PrincipalLimits::default() };
        assert_eq!(Fields::of(odd).bytes_in, "98");
    }
}
