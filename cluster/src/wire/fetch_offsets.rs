//! FetchOffsets: where a partition begins and ends.

use bytes::Bytes;
use fluvio_spu_schema::server::fetch_offset::{
    FetchOffsetPartitionResponse, FetchOffsetTopicResponse, FetchOffsetsResponse,
};

use super::encode::{EncodeError, Frame, response};
use super::request::Header;
use super::schema::{ErrorCode, spu_error_for};
use super::{Fields, Malformed};

/// Topics and their partitions, in the client's order.
#[derive(Debug, Clone)]
pub struct FetchOffsets {
    /// Name and partitions.
    pub topics: Vec<(String, Vec<u32>)>,
}

impl FetchOffsets {
    /// Reads the body. Version 23 has a consumer id behind the topics, which means nothing.
    pub fn parse(body: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        let n_topics = fields.count(6)?;
        let mut topics = Vec::with_capacity(n_topics);
        for _ in 0..n_topics {
            let name = fields.string()?;
            let n_partitions = fields.count(4)?;
            let partitions = (0..n_partitions).map(|_| fields.u32()).collect::<Result<_, _>>()?;
            topics.push((name, partitions));
        }
        Ok(Self { topics })
    }
}

/// One partition's offsets.
#[derive(Debug, Clone)]
pub struct OffsetsOfPartition {
    /// The partition.
    pub partition: u32,
    /// [`ErrorCode::None`] when the offsets mean something.
    pub error: ErrorCode,
    /// First offset that is still there.
    pub start: i64,
    /// The high-water mark.
    pub last_stable: i64,
}

/// The response, in the order of the request.
pub fn fetch_offsets_response(
    header: &Header,
    topics: Vec<(String, Vec<OffsetsOfPartition>)>,
) -> Result<Frame, EncodeError> {
    let partition = |offsets: OffsetsOfPartition| FetchOffsetPartitionResponse {
        error_code: spu_error_for(offsets.error, header.version),
        partition_index: offsets.partition,
        start_offset: offsets.start,
        last_stable_offset: offsets.last_stable,
    };
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| FetchOffsetTopicResponse {
            name,
            partitions: partitions.into_iter().map(partition).collect(),
        })
        .collect();
    response(header, &FetchOffsetsResponse { topics })
}
