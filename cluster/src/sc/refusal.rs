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
    /// Deduplication is the work of a SmartModule.
    #[error(
        "deduplication is done by a SmartModule, and this cluster keeps SmartModules but does not run them yet"
    )]
    DeduplicationModule,
    /// There is a table format of this name.
    #[error("table format '{0}' already exists")]
    TableFormatExists(String),
    /// There is none of this name.
    #[error("table format '{0}' not found")]
    TableFormatNotFound(String),
    /// There is no SmartModule of this name.
    #[error("SmartModule '{0}' not found")]
    SmartModuleNotFound(String),
    /// What was uploaded is no SmartModule.
    #[error("SmartModule '{name}' is not valid: {error}")]
    SmartModuleInvalid {
        /// As it was to be called.
        name: String,
        /// Why not.
        error: String,
    },
    /// An SPU has this name or id.
    #[error("{0}")]
    SpuExists(String),
    /// No custom SPU has this name or id.
    #[error("{0}")]
    SpuNotFound(String),
    /// The cluster's own SPUs are not registered and so cannot be unregistered.
    #[error("{0}")]
    OwnSpu(String),
    /// An object breaks a rule or is one too many.
    #[error("{0}")]
    Object(String),
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
