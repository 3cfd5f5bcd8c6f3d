//! Produce: the request is read by hand, so that record batches stay the bytes they came in.

use std::time::Duration;

use bytes::Bytes;
use fluvio_spu_schema::produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};

use super::encode::{EncodeError, Frame, response};
use super::request::Header;
use super::schema::{ErrorCode, spu_error_for};
use super::stream_fetch::SmartModuleAsked;
use super::{Fields, Malformed};

/// A topic takes its name's length and a count at least.
const TOPIC_BYTES: usize = 6;
/// A partition's entry takes its index and a length at least.
const ENTRY_BYTES: usize = 8;
/// Topics and entries of one request. A client sends one topic, and by default up to a hundred entries.
const MOST_ENTRIES: usize = 1 << 16;

/// When the producer wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// As soon as the leader has stored the records.
    Leader,
    /// When every in-sync replica has.
    Committed,
}

/// A produce request.
#[derive(Debug, Clone)]
pub struct ProduceRequest {
    /// When to answer.
    pub acks: Acks,
    /// How long to wait for [`Acks::Committed`].
    pub timeout: Duration,
    /// In the client's order, as the response has to be.
    pub topics: Vec<ProduceTopic>,
    /// Set when the client wants its records transformed first.
    pub smartmodule: Option<SmartModuleAsked>,
}

/// What goes to one topic.
#[derive(Debug, Clone)]
pub struct ProduceTopic {
    /// The topic.
    pub name: String,
    /// May name a partition several times: one entry for each batch, in order.
    pub entries: Vec<ProduceEntry>,
}

/// One batch or more for one partition.
#[derive(Debug, Clone)]
pub struct ProduceEntry {
    /// The partition.
    pub partition: u32,
    /// Batches, one after the other, nothing of them checked yet.
    pub records: Bytes,
}

impl ProduceRequest {
    /// Reads the body; it looks the same at every version.
    pub fn parse(body: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(body);
        fields.optional_string()?;
        let acks = if fields.i16()? < 0 { Acks::Committed } else { Acks::Leader };
        let milliseconds = u64::try_from(fields.i32()?).map_err(|_| Malformed::Value("timeout"))?;
        let n_topics = fields.count(TOPIC_BYTES)?;
        let mut left = MOST_ENTRIES.checked_sub(n_topics).ok_or(Malformed::Value("number of topics"))?;
        let mut topics = Vec::with_capacity(n_topics);
        for _ in 0..n_topics {
            topics.push(parse_topic(&mut fields, &mut left)?);
        }
        let smartmodule = SmartModuleAsked::parse_first(&mut fields)?;
        Ok(Self { acks, timeout: Duration::from_millis(milliseconds), topics, smartmodule })
    }
}

fn parse_topic(fields: &mut Fields, left: &mut usize) -> Result<ProduceTopic, Malformed> {
    let name = fields.string()?;
    let n_entries = fields.count(ENTRY_BYTES)?;
    *left = left.checked_sub(n_entries).ok_or(Malformed::Value("number of entries"))?;
    let mut entries = Vec::with_capacity(n_entries);
    for _ in 0..n_entries {
        let partition = fields.u32()?;
        let length = usize::try_from(fields.i32()?).unwrap_or(0);
        entries.push(ProduceEntry { partition, records: fields.slice(length)? });
    }
    Ok(ProduceTopic { name, entries })
}

/// The answer to one [`ProduceEntry`].
#[derive(Debug, Clone)]
pub struct ProducedEntry {
    /// The partition.
    pub partition: u32,
    /// [`ErrorCode::None`] when the records are stored.
    pub error: ErrorCode,
    /// Offset of the first record.
    pub base_offset: i64,
    /// First offset that the partition still has.
    pub log_start_offset: i64,
}

/// The response: topics and entries in the order of the request.
pub fn produce_response(
    header: &Header,
    topics: Vec<(String, Vec<ProducedEntry>)>,
) -> Result<Frame, EncodeError> {
    let entry = |entry: ProducedEntry| PartitionProduceResponse {
        partition_index: entry.partition,
        error_code: spu_error_for(entry.error, header.version),
        base_offset: entry.base_offset,
        // The records keep the time at which the client made them.
        log_append_time_ms: -1,
        log_start_offset: entry.log_start_offset,
    };
    let responses = topics
        .into_iter()
        .map(|(name, entries)| TopicProduceResponse {
            name,
            partitions: entries.into_iter().map(entry).collect(),
        })
        .collect();
    response(header, &ProduceResponse { responses, throttle_time_ms: 0 })
}

#[cfg(test)]
mod tests {
    use fluvio_protocol::Encoder;
    use fluvio_protocol::record::{RawRecords, RecordSet};
    use fluvio_spu_schema::Isolation;
    use fluvio_spu_schema::produce::{DefaultProduceRequest, PartitionProduceData, TopicProduceData};
    use fluvio_spu_schema::server::smartmodule::{SmartModuleInvocation, SmartModuleInvocationWasm};

    use super::*;

    fn upstream_request(smartmodules: Vec<SmartModuleInvocation>) -> DefaultProduceRequest {
        let entry = |partition_index| PartitionProduceData::<RecordSet<RawRecords>> {
            partition_index,
            records: RecordSet::default(),
        };
        DefaultProduceRequest {
            isolation: Isolation::ReadCommitted,
            timeout: Duration::from_millis(1500),
            topics: vec![TopicProduceData {
                name: "numbers".into(),
                partitions: vec![entry(0), entry(0), entry(3)],
                ..Default::default()
            }],
            smartmodules,
            ..Default::default()
        }
    }

    #[test]
    fn upstreams_request_is_read() {
        let bytes = upstream_request(Vec::new()).as_bytes(25).unwrap();
        let request = ProduceRequest::parse(bytes).unwrap();
        assert_eq!(request.acks, Acks::Committed);
        assert_eq!(request.timeout, Duration::from_millis(1500));
        assert_eq!(request.topics[0].name, "numbers");
        let partitions: Vec<u32> = request.topics[0].entries.iter().map(|entry| entry.partition).collect();
        assert_eq!(partitions, [0, 0, 3]);
        assert!(request.smartmodule.is_none());
    }

    #[test]
    fn a_request_for_a_smartmodule_is_seen() {
        let wasm = SmartModuleInvocationWasm::Predefined("upper".into());
        let invocation = SmartModuleInvocation { wasm, ..Default::default() };
        let bytes = upstream_request(vec![invocation]).as_bytes(25).unwrap();
        let asked = ProduceRequest::parse(bytes).unwrap().smartmodule.unwrap();
        assert_eq!(asked, SmartModuleAsked::Predefined("upper".into()));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = upstream_request(Vec::new()).as_bytes(25).unwrap();
        for cut in 0..bytes.len() {
            assert!(ProduceRequest::parse(bytes.slice(..cut)).is_err(), "{cut} bytes");
        }
    }
}
