//! How a step of a pass over a cluster ends when it is not done, in either runtime.

use crate::store::StoreError;

/// Why a step ended the pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// Not there yet; look again soon. Nothing is wrong as long as it does not take long.
    #[error("{0}")]
    NotYet(String),
    /// Something is wrong; try again later.
    #[error("{error}")]
    Wrong {
        /// For the tenant.
        reason: &'static str,
        /// For the operator.
        error: String,
    },
    /// What the runtime works through, such as the API server, is away. Clusters go on, so nothing is said
    /// about them.
    #[error("{0}")]
    Away(String),
    /// Somebody else works on the cluster.
    #[error("the lease was lost")]
    Fenced,
    /// The cluster is gone.
    #[error("the cluster is gone")]
    Gone,
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced,
            other => Self::Wrong { reason: "Waiting for the cloud's database", error: other.to_string() },
        }
    }
}
