//! What each principal of a cluster may do at most, so that one program does not take all that the cluster has. The
//! tenant sets it; the plan limits all of them together.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// Bytes a second at least: below it a large record would wait for minutes.
const LEAST_BYTES: i64 = 64 << 10;

/// Requests a second at least: a client that connects sends some at once.
const LEAST_REQUESTS: i32 = 10;

/// Connections at least: a client has one to the SC and one to each SPU that it talks to.
const LEAST_CONNECTIONS: i32 = 4;

/// Limits of each principal, on each of the cluster's servers. What is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalLimits {
    /// Bytes a second that it sends, 65536 or more.
    pub bytes_in_per_second: Option<i64>,
    /// Bytes a second that it is sent, 65536 or more.
    pub bytes_out_per_second: Option<i64>,
    /// Requests a second, 10 or more.
    pub requests_per_second: Option<i32>,
    /// Connections at once, 4 or more.
    pub connections: Option<i32>,
}

impl PrincipalLimits {
    /// Checks that a client could live with them.
    pub fn check(&self) -> Result<(), Problem> {
        let bytes = "A principal sends and is sent 64 KiB a second at least.";
        let requests = "A principal sends 10 requests a second at least.";
        let connections = "A principal has 4 connections at least: a client needs one to each server.";
        for (field, value, least, detail) in [
            ("bytes_in_per_second", self.bytes_in_per_second, LEAST_BYTES, bytes),
            ("bytes_out_per_second", self.bytes_out_per_second, LEAST_BYTES, bytes),
            (
                "requests_per_second",
                self.requests_per_second.map(Into::into),
                LEAST_REQUESTS.into(),
                requests,
            ),
            ("connections", self.connections.map(Into::into), LEAST_CONNECTIONS.into(), connections),
        ] {
            if value.is_some_and(|value| value < least) {
                return Err(Problem::invalid(field, detail, "Give more, or nothing for no limit."));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_none_or_one_that_a_client_can_live_with() {
        let none = PrincipalLimits::default();
        let all = |bytes, requests, connections| PrincipalLimits {
            bytes_in_per_second: Some(bytes),
            bytes_out_per_second: Some(bytes),
            requests_per_second: Some(requests),
            connections: Some(connections),
        };
        for (limits, fault) in [
            (none, None),
            (all(65_536, 10, 4), None),
            (all(i64::MAX, i32::MAX, i32::MAX), None),
            (PrincipalLimits { bytes_in_per_second: Some(65_535), ..none }, Some("bytes_in_per_second")),
            (PrincipalLimits { bytes_out_per_second: Some(0), ..none }, Some("bytes_out_per_second")),
            (PrincipalLimits { requests_per_second: Some(-1), ..none }, Some("requests_per_second")),
            (PrincipalLimits { connections: Some(3), ..none }, Some("connections")),
        ] {
            let field = match limits.check() {
                Err(Problem::Invalid { field, .. }) => Some(field),
                _ => None,
            };
            assert_eq!(field, fault, "{limits:?}");
        }
    }
}
