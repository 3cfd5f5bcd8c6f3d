//! What a tenant cannot exceed.

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

/// What a tenant cannot exceed. Beyond a rate clients are slowed down; beyond any other limit they are refused, with
/// upstream's error code where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of log over all SPUs of the cluster.
    pub storage_bytes: u64,
    /// Partitions over all topics, the system topic not counted.
    pub partitions: u32,
    /// Client connections of one process.
    pub connections: u32,
    /// Bytes of one produce request.
    pub message_bytes: u32,
    /// How fast all clients together go. Each process counts by itself what its own clients do, as Kafka's brokers do.
    #[serde(default, skip_serializing_if = "Rates::is_unlimited")]
    pub rates: Rates,
    /// How fast each principal goes, its connections together; counted by each process as well.
    #[serde(default, skip_serializing_if = "Rates::is_unlimited")]
    pub principal_rates: Rates,
    /// Connections of each principal, of one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_connections: Option<u32>,
}

impl Limits {
    /// Whether they say what a reader of version 2 does not know.
    pub fn are_of_version_3(&self) -> bool {
        *self != self.without_rates()
    }

    /// What of them a reader of version 2 knows.
    pub fn without_rates(&self) -> Self {
        let (rates, principal_rates) = (Rates::UNLIMITED, Rates::UNLIMITED);
        Self { rates, principal_rates, principal_connections: None, ..*self }
    }
}

/// How fast clients may go. What is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Bytes of request frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_in_per_second: Option<NonZeroU64>,
    /// Bytes of response frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out_per_second: Option<NonZeroU64>,
    /// Requests of any kind, a consumer's acknowledgements included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
}

impl Rates {
    /// No limit at all.
    pub const UNLIMITED: Self =
        Self { bytes_in_per_second: None, bytes_out_per_second: None, requests_per_second: None };

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::UNLIMITED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccessList, oldest_version};

    /// As the release before wrote them.
    const PLAIN: &str = r#"{"storage_bytes":1,"partitions":2,"connections":3,"message_bytes":4}"#;

    #[test]
    fn limits_without_rates_are_written_as_ever_and_rates_make_a_newer_document() {
        let plain: Limits = serde_json::from_str(PLAIN).unwrap();
        assert_eq!(serde_json::to_string(&plain).unwrap(), PLAIN);
        assert_eq!(oldest_version(&AccessList::default(), &plain), 1);
        let requests = Rates { requests_per_second: NonZeroU32::new(5), ..Rates::UNLIMITED };
        let bytes = Rates {
            bytes_in_per_second: NonZeroU64::new(6),
            bytes_out_per_second: NonZeroU64::new(7),
            ..Rates::UNLIMITED
        };
        for (limits, addition) in [
            (Limits { rates: requests, ..plain }, r#","rates":{"requests_per_second":5}"#),
            (
                Limits { principal_rates: bytes, ..plain },
                r#","principal_rates":{"bytes_in_per_second":6,"bytes_out_per_second":7}"#,
            ),
            (Limits { principal_connections: Some(8), ..plain }, r#","principal_connections":8"#),
        ] {
            let text = serde_json::to_string(&limits).unwrap();
            assert_eq!(text, PLAIN.replace('}', &format!("{addition}}}")));
            assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
            assert_eq!(oldest_version(&AccessList::default(), &limits), 3);
        }
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        for rate in ["bytes_in_per_second", "bytes_out_per_second", "requests_per_second"] {
            assert!(serde_json::from_str::<Rates>(&format!(r#"{{"{rate}":0}}"#)).is_err(), "{rate}");
        }
    }
}
