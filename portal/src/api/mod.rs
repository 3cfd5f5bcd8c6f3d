//! The JSON API, one file a noun. What a program sends is checked field by field; what it gets is described by the
//! OpenAPI document that is made from these types.

pub mod certificates;
pub mod clusters;
pub mod idempotency;
pub mod legacy;
pub mod limits;
pub mod regions;
pub mod sign_in;
pub mod tokens;

use time::OffsetDateTime;

use crate::show;

/// A time as the API tells it.
fn time(at: OffsetDateTime) -> String {
    show::rfc3339(at)
}
