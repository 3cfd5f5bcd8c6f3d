//! Lets the provisioner write in the tenant's namespace, and nowhere else: its own role writes namespaces and
//! such bindings only.

use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};

use super::{Shape, Site, metadata};

/// Its name.
pub const NAME: &str = "provisioner";

/// Builds it.
pub fn build(site: &Site, shape: &Shape) -> RoleBinding {
    RoleBinding {
        metadata: metadata(site, shape, NAME),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: site.config.tenant_cluster_role.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: site.config.service_account.clone(),
            namespace: Some(site.config.provisioner_namespace.clone()),
            ..Subject::default()
        }]),
    }
}
