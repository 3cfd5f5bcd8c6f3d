//! The three requests about consumers' stored offsets.

use bytes::Bytes;
use fluvio_spu_schema::server::consumer_offset as upstream;

use super::encode::{EncodeError, Frame, response};
use super::request::Header;
use super::schema::{ErrorCode, ReplicaKey, spu_error_for};
use super::{Fields, Malformed};

/// Moves the offset of the consumer of a stream of this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateConsumerOffset {
    /// The last record that the consumer is done with.
    pub offset: i64,
    /// The stream.
    pub stream_id: u32,
}

impl UpdateConsumerOffset {
    /// Reads the body.
    pub fn parse(body: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        Ok(Self { offset: fields.i64()?, stream_id: fields.u32()? })
    }
}

/// The response to [`UpdateConsumerOffset`].
pub fn consumer_offset_updated(header: &Header, offset: i64, error: ErrorCode) -> Result<Frame, EncodeError> {
    let error_code = spu_error_for(error, header.version);
    response(header, &upstream::UpdateConsumerOffsetResponse { offset, error_code })
}

/// Forgets a consumer's offset in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteConsumerOffset {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// The consumer.
    pub consumer: String,
}

impl DeleteConsumerOffset {
    /// Reads the body.
    pub fn parse(body: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        Ok(Self { topic: fields.string()?, partition: fields.u32()?, consumer: fields.string()? })
    }
}

/// The response to [`DeleteConsumerOffset`].
pub fn consumer_offset_deleted(header: &Header, error: ErrorCode) -> Result<Frame, EncodeError> {
    let error_code = spu_error_for(error, header.version);
    response(header, &upstream::DeleteConsumerOffsetResponse { error_code })
}

/// Which stored offsets a client wants; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchConsumerOffsets {
    /// Only this topic and partition.
    pub replica: Option<(String, u32)>,
    /// Only this consumer.
    pub consumer: Option<String>,
}

impl FetchConsumerOffsets {
    /// Reads the body; version 23 has none.
    pub fn parse(body: Bytes, version: i16) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        if version < 24 || !fields.bool()? {
            return Ok(Self::default());
        }
        let replica = if fields.bool()? { Some((fields.string()?, fields.u32()?)) } else { None };
        Ok(Self { replica, consumer: fields.optional_string()? })
    }
}

/// One stored offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOffset {
    /// The consumer.
    pub consumer: String,
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// The last record that the consumer is done with.
    pub offset: i64,
    /// When that was stored, in seconds since 1970.
    pub modified: u64,
}

/// What [`FetchConsumerOffsets`] found.
#[derive(Debug, Clone)]
pub struct FetchConsumerOffsetsResponse {
    /// [`ErrorCode::None`] when the list is complete.
    pub error: ErrorCode,
    /// The offsets.
    pub offsets: Vec<ConsumerOffset>,
}

impl FetchConsumerOffsetsResponse {
    /// As a frame.
    pub fn encode(self, header: &Header) -> Result<Frame, EncodeError> {
        let consumers = self
            .offsets
            .into_iter()
            .map(|offset| upstream::ConsumerOffset {
                consumer_id: offset.consumer,
                replica_id: ReplicaKey { topic: offset.topic, partition: offset.partition },
                offset: offset.offset,
                modified_time: offset.modified,
            })
            .collect();
        let error_code = spu_error_for(self.error, header.version);
        response(header, &upstream::FetchConsumerOffsetsResponse { error_code, consumers })
    }
}

#[cfg(test)]
mod tests {
    use fluvio_protocol::Encoder;

    use super::*;

    #[test]
    fn upstreams_filters_are_read() {
        let asked = |replica: Option<ReplicaKey>, consumer: Option<&str>| {
            upstream::FetchConsumerOffsetsRequest::with_opts(replica, consumer.map(String::from))
        };
        let key = ReplicaKey { topic: "numbers".into(), partition: 4 };
        for (request, version, replica, consumer) in [
            (asked(None, None), 25, None, None),
            (asked(Some(key.clone()), Some("group")), 24, Some(("numbers".to_string(), 4)), Some("group")),
            (asked(Some(key), Some("group")), 23, None, None),
        ] {
            let parsed = FetchConsumerOffsets::parse(request.as_bytes(version).unwrap(), version).unwrap();
            assert_eq!(parsed, FetchConsumerOffsets { replica, consumer: consumer.map(String::from) });
        }
    }

    #[test]
    fn upstreams_deletion_is_read() {
        let request = upstream::DeleteConsumerOffsetRequest::new("numbers", 4, "group");
        let parsed = DeleteConsumerOffset::parse(request.as_bytes(25).unwrap()).unwrap();
        let expected =
            DeleteConsumerOffset { topic: "numbers".into(), partition: 4, consumer: "group".into() };
        assert_eq!(parsed, expected);
    }
}
