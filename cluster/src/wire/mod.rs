//! The Fluvio wire: frames, headers, decoding and encoding at the version that the client asked for.
//!
//! This is the only module that names the published fluvio crates; everything else of the cluster takes its
//! wire types from here. Their decoders were written for friendly peers: some panic on short input, one asks
//! for memory by a length it has not checked. So bytes from a client go through [`Fields`] (our own reader)
//! wherever that is simple, and through [`guarded`] where a schema crate has to decode.
//!
//! Frame: `i32` length, then that many bytes. Request: api key `u16`, version `i16`, correlation id `i32`,
//! client id, body. Response: correlation id `i32`, body at the request's version. All big-endian.

pub mod admin;
mod consumer_offsets;
mod decode;
mod encode;
mod fetch_offsets;
mod fields;
mod frame;
mod produce;
mod record;
mod request;
pub mod schema;
mod stream_fetch;
mod versions;

pub use consumer_offsets::{
    ConsumerOffset, DeleteConsumerOffset, FetchConsumerOffsets, FetchConsumerOffsetsResponse,
    UpdateConsumerOffset, consumer_offset_deleted, consumer_offset_updated,
};
pub use decode::{Malformed, decode, decode_admin, guarded};
pub use encode::{EncodeError, Frame, response};
pub use fetch_offsets::{FetchOffsets, OffsetsOfPartition, fetch_offsets_response};
pub use fields::Fields;
pub use frame::{FrameBudget, FrameError, FrameReader, FrameWriter, Received};
pub use produce::{Acks, ProduceEntry, ProduceRequest, ProduceTopic, ProducedEntry, produce_response};
pub use record::{KeyValue, record_batch, records_of};
pub use request::{ApiKey, Header, Request};
pub use schema::ErrorCode;
pub use stream_fetch::{
    OffsetAck, SliceHead, SmartModuleAsked, StreamFetch, StreamIsolation, stream_slice, update_offsets,
    update_offsets_response,
};
pub use versions::{PLATFORM_VERSION, Server, api_versions};

#[cfg(test)]
mod mutations;
