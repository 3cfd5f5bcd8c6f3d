//! StreamFetch and UpdateOffsets: a consumer's stream and its acknowledgements.

use bytes::{BufMut, Bytes};

use super::encode::{EncodeError, Frame, finish, put, put_string, response, start};
use super::request::Header;
use super::schema::{ErrorCode, spu_error_for};
use super::{Fields, Malformed};
use fluvio_spu_schema::server::update_offset::{OffsetUpdateStatus, UpdateOffsetsResponse};

/// Up to where a stream may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamIsolation {
    /// To the end of the leader's log.
    Uncommitted,
    /// To the high-water mark.
    Committed,
}

/// The first SmartModule that a request wants to have run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmartModuleAsked {
    /// One that the SC keeps.
    Predefined(String),
    /// One that came with the request.
    AdHoc,
}

impl SmartModuleAsked {
    /// Reads as much of the vector of invocations as tells whether there is one, and which.
    pub(super) fn parse_first(fields: &mut Fields) -> Result<Option<Self>, Malformed> {
        if fields.count(1)? == 0 {
            return Ok(None);
        }
        match fields.u8()? {
            0 => Ok(Some(Self::Predefined(fields.string()?))),
            1 => Ok(Some(Self::AdHoc)),
            _ => Err(Malformed::Value("SmartModule")),
        }
    }

    /// The refusal: records are never passed on as if the SmartModule had seen them. `is_kept` tells whether the SC has
    /// one of this name.
    pub fn refusal(self, is_kept: impl FnOnce(&str) -> bool) -> ErrorCode {
        match self {
            Self::Predefined(name) if !is_kept(&name) => ErrorCode::SmartModuleNotFound { name },
            Self::Predefined(name) => ErrorCode::SmartModuleInvalid {
                error: format!(
                    "this cluster keeps '{name}' but does not run SmartModules yet; run it in the client"
                ),
                name: Some(name),
            },
            Self::AdHoc => ErrorCode::SmartModuleInvalid {
                error: "this cluster does not run SmartModules yet; run it in the client".into(),
                name: None,
            },
        }
    }
}

/// A request for a stream of record batches.
#[derive(Debug, Clone)]
pub struct StreamFetch {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// First record wanted.
    pub offset: i64,
    /// Bytes of batches in one response; one batch is sent even if it is larger.
    pub max_bytes: i32,
    /// Up to where to read.
    pub isolation: StreamIsolation,
    /// Set when the records should be transformed on the way.
    pub smartmodule: Option<SmartModuleAsked>,
    /// Whose offset UpdateConsumerOffset moves.
    pub consumer_id: Option<String>,
}

impl StreamFetch {
    /// Reads the body at versions 23 to 25, which are alike up to the SmartModules.
    pub fn parse(body: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        let (topic, partition) = (fields.string()?, fields.u32()?);
        let (offset, max_bytes) = (fields.i64()?, fields.i32()?);
        let isolation = match fields.u8()? {
            0 => StreamIsolation::Uncommitted,
            1 => StreamIsolation::Committed,
            _ => return Err(Malformed::Value("isolation")),
        };
        let smartmodule = SmartModuleAsked::parse_first(&mut fields)?;
        // After a SmartModule the rest is not read: the request is refused anyway.
        let consumer_id = if smartmodule.is_none() { fields.optional_string()? } else { None };
        Ok(Self { topic, partition, offset, max_bytes, isolation, smartmodule, consumer_id })
    }
}

/// What precedes the batches in a stream's response.
#[derive(Debug, Clone)]
pub struct SliceHead<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: u32,
    /// The stream's number on its connection, from 1.
    pub stream_id: u32,
    /// Not [`ErrorCode::None`] ends the stream.
    pub error: ErrorCode,
    /// The high-water mark.
    pub high_watermark: i64,
    /// First offset that the partition still has.
    pub log_start_offset: i64,
}

/// One response of a stream: whole batches, as they are stored.
pub fn stream_slice(header: &Header, head: SliceHead<'_>, batches: Vec<Bytes>) -> Result<Frame, EncodeError> {
    let n_batch_bytes: usize = batches.iter().map(Bytes::len).sum();
    let mut out = start(header, 64 + head.topic.len());
    put_string(&mut out, head.topic)?;
    out.put_u32(head.stream_id);
    out.put_u32(head.partition);
    put(&mut out, &spu_error_for(head.error, header.version), header.version)?;
    out.put_i64(head.high_watermark);
    // Only a filter moves the client past records it has not seen; no filter runs here.
    out.put_i64(0);
    out.put_i64(head.log_start_offset);
    // No aborted transactions.
    out.put_u8(0);
    // Larger than an i32 is refused below, since the frame is larger still.
    out.put_i32(i32::try_from(n_batch_bytes).unwrap_or(i32::MAX));
    finish(out, n_batch_bytes).map(|head| Frame::pieces(head, batches))
}

/// The client has read a stream up to, and without, `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAck {
    /// The next offset it wants.
    pub offset: i64,
    /// The stream.
    pub stream_id: u32,
}

/// Reads an UpdateOffsets request.
pub fn update_offsets(body: Bytes) -> Result<Vec<OffsetAck>, Malformed> {
    let mut fields = Fields::new(body);
    let n_acks = fields.count(12)?;
    (0..n_acks).map(|_| Ok(OffsetAck { offset: fields.i64()?, stream_id: fields.u32()? })).collect()
}

/// Its response: one error code for each acknowledgement.
pub fn update_offsets_response(
    header: &Header,
    statuses: Vec<(u32, ErrorCode)>,
) -> Result<Frame, EncodeError> {
    let status =
        statuses.into_iter().map(|(session_id, error)| OffsetUpdateStatus { session_id, error }).collect();
    response(header, &UpdateOffsetsResponse { status })
}

#[cfg(test)]
mod tests {
    use fluvio_protocol::{Decoder, Encoder};
    use fluvio_spu_schema::Isolation;
    use fluvio_spu_schema::server::stream_fetch::{DefaultStreamFetchRequest, DefaultStreamFetchResponse};

    use super::*;

    fn upstream_request() -> DefaultStreamFetchRequest {
        DefaultStreamFetchRequest::builder()
            .topic("numbers")
            .partition(2u32)
            .fetch_offset(41i64)
            .max_bytes(7)
            .isolation(Isolation::ReadCommitted)
            .consumer_id(Some("group".to_string()))
            .build()
            .unwrap()
    }

    #[test]
    fn upstreams_request_is_read_at_every_version() {
        for version in 23..=25 {
            let request = StreamFetch::parse(upstream_request().as_bytes(version).unwrap()).unwrap();
            assert_eq!((request.topic.as_str(), request.partition), ("numbers", 2));
            assert_eq!((request.offset, request.max_bytes), (41, 7));
            assert_eq!(request.isolation, StreamIsolation::Committed);
            assert_eq!(request.consumer_id.as_deref(), Some("group"));
        }
    }

    #[test]
    fn a_smart_module_that_is_kept_is_not_said_to_be_missing() {
        let refusal = |kept: bool| SmartModuleAsked::Predefined("upper".into()).refusal(|_| kept);
        assert_eq!(refusal(false).to_string(), "SmartModule upper was not found");
        let kept = "this cluster keeps 'upper' but does not run SmartModules yet; run it in the client";
        assert_eq!(refusal(true).to_string(), format!("SmartModule is invalid: {kept}"));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = upstream_request().as_bytes(25).unwrap();
        for cut in 0..bytes.len() {
            assert!(StreamFetch::parse(bytes.slice(..cut)).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn upstreams_client_reads_a_refusal() {
        let header = Header { key: 1003, version: 24, correlation_id: 5 };
        let full = ErrorCode::OffsetEvicted { offset: 1, next_available: 9 };
        let head = SliceHead {
            topic: "numbers",
            partition: 2,
            stream_id: 3,
            error: full.clone(),
            high_watermark: 11,
            log_start_offset: 9,
        };
        let frame = stream_slice(&header, head, Vec::new()).unwrap();
        let bytes: Vec<u8> = frame.parts().flat_map(|part| part.to_vec()).collect();
        let answer = DefaultStreamFetchResponse::decode_from(&mut &bytes[8..], 24).unwrap();
        assert_eq!((answer.topic.as_str(), answer.stream_id), ("numbers", 3));
        assert_eq!(answer.partition.error_code, full);
        assert_eq!((answer.partition.high_watermark, answer.partition.log_start_offset), (11, 9));
        assert!(answer.partition.records.batches.is_empty());
    }
}
