//! What the rest of the cluster may use of the published schema crates, by one name each.

pub use fluvio_controlplane_metadata as metadata;
pub use fluvio_protocol::api::{ApiMessage, RequestKind};
pub use fluvio_protocol::link::ErrorCode;
pub use fluvio_protocol::record::ReplicaKey;
pub use fluvio_protocol::{Decoder, Encoder};
pub use fluvio_sc_schema as sc;
pub use fluvio_types as types;

/// The code as a client of this SPU version can decode it: an unknown tag fails its whole response. Clients
/// below 25 may be built with a protocol crate that does not have these three yet.
pub fn spu_error_for(code: ErrorCode, version: i16) -> ErrorCode {
    if version >= 25 {
        return code;
    }
    match code {
        ErrorCode::PartitionFull { .. } | ErrorCode::PartitionShortCircuited | ErrorCode::MaxRetryReached => {
            ErrorCode::Other(code.to_string())
        }
        known => known,
    }
}

/// A code as bytes, for another SPU that passes it on.
pub fn error_bytes(code: &ErrorCode) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Into memory it cannot fail; were it to, the reader takes it for an unknown error.
    if code.encode(&mut bytes, i16::MAX).is_err() {
        bytes.clear();
    }
    bytes
}

/// The code of [`error_bytes`].
pub fn error_of(bytes: &[u8]) -> ErrorCode {
    let mut code = ErrorCode::default();
    match code.decode(&mut std::io::Cursor::new(bytes), i16::MAX) {
        Ok(()) => code,
        Err(_) => ErrorCode::UnknownServerError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_comes_through_another_spu_as_it_was() {
        let full = ErrorCode::PartitionFull { replica_key: ReplicaKey::default() };
        for code in [full, ErrorCode::MessageTooLarge, ErrorCode::Other("why".into())] {
            assert_eq!(error_of(&error_bytes(&code)), code);
        }
        assert_eq!(error_of(&[]), ErrorCode::UnknownServerError);
    }

    #[test]
    fn an_older_client_gets_a_code_that_it_knows() {
        let full = ErrorCode::PartitionFull { replica_key: ReplicaKey::default() };
        assert_eq!(spu_error_for(full.clone(), 25), full);
        assert_eq!(spu_error_for(full, 24), ErrorCode::Other("Partition storage is full".into()));
        assert_eq!(spu_error_for(ErrorCode::StorageError, 23), ErrorCode::StorageError);
    }
}
