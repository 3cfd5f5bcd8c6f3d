//! The account of a tenant's pods: they never talk to the API server, so it has no token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Shape, Site, metadata};

/// Its name.
pub const NAME: &str = "servers";

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(site, shape, NAME),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
