//! What the rest of the cluster may use of the published schema crates, by one name each.

pub use fluvio_controlplane_metadata as metadata;
pub use fluvio_protocol::api::{ApiMessage, RequestKind};
pub use fluvio_protocol::link::ErrorCode;
pub use fluvio_protocol::record::ReplicaKey;
pub use fluvio_protocol::{Decoder, Encoder};
pub use fluvio_sc_schema as sc;
pub use fluvio_types as types;

/// The code as a client of this SPU version can decode it: an unknown tag fails its whole response, so codes
/// that came with later releases go out as one that was always there.
pub fn spu_error_for(code: ErrorCode, version: i16) -> ErrorCode {
    if version >= 25 {
        return code;
    }
    match code {
        ErrorCode::PartitionFull { .. }
        | ErrorCode::PartitionShortCircuited
        | ErrorCode::MaxRetryReached
        | ErrorCode::SmartModuleMemoryLimitExceeded { .. } => ErrorCode::Other(code.to_string()),
        known => known,
    }
}
