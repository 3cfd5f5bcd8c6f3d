//! Why the SC does not do what a client asks; the wire maps each to upstream's code and wording.

/// Refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The role does not allow it.
    #[error("permission denied: this client certificate may not {0}")]
    Denied(&'static str),
    /// The topic's name breaks a rule.
    #[error("{0}")]
    InvalidName(String),
    /// There is one of this name.
    #[error("topic '{0}' already exists")]
    AlreadyExists(String),
    /// There is none of this name.
    #[error("topic '{0}' not found")]
    NotFound(String),
    /// The spec breaks a rule.
    #[error("{0}")]
    InvalidConfiguration(String),
    /// The cluster's limit, or something that no topic can have.
    #[error("{0}")]
    Topic(String),
    /// Deduplication names a SmartModule that is not there.
    #[error("SmartModule for deduplication is not loaded: this cluster has no SmartModules")]
    DeduplicationModule,
    /// The topic stands, but not all its partitions serve yet.
    #[error("{0}")]
    NotProvisioned(String),
    /// Only by force.
    #[error("system topic '{0}' can only be deleted forcibly")]
    SystemDeletion(String),
    /// A system topic stays as it is.
    #[error("system topic '{0}' cannot be changed")]
    SystemUpdate(String),
    /// The topic's partitions were placed by the client.
    #[error("{0}")]
    ReplicaType(String),
    /// This cloud manages such objects itself, or not at all.
    #[error("{0}")]
    Unsupported(String),
    /// Nothing can be done now; the same request works later.
    #[error("{0}")]
    Later(String),
}
