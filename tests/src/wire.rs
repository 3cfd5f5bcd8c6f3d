//! Fluvio frames written by hand, so that any field may lie.

use std::io::{Read, Write};

use anyhow::{Context, ensure};

pub const API_VERSIONS: u16 = 18;
pub const PRODUCE: u16 = 0;
pub const FETCH_OFFSETS: u16 = 1002;
pub const STREAM_FETCH: u16 = 1003;
pub const UPDATE_OFFSETS: u16 = 1005;
/// The version that the published client of today speaks to an SPU.
pub const SPU_VERSION: i16 = 25;

/// Bytes in the wire's primitive encodings.
#[derive(Debug, Clone, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn u8(mut self, value: u8) -> Bytes {
        self.0.push(value);
        self
    }

    pub fn i16(mut self, value: i16) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn u16(mut self, value: u16) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn i32(mut self, value: i32) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn i64(mut self, value: i64) -> Bytes {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn string(self, text: &str) -> Bytes {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.u16(length).raw(&text.as_bytes()[..usize::from(length)])
    }

    /// Zigzag varint.
    pub fn varint(mut self, value: i64) -> Bytes {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.0.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        self.0.push(u8::try_from(rest).unwrap_or(0));
        self
    }
}

/// A request frame with its true length.
pub fn frame(api: u16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let inner = Bytes::default().u16(api).i16(version).i32(correlation).string("hostile").raw(body).0;
    let length = i32::try_from(inner.len()).unwrap_or(i32::MAX);
    Bytes::default().i32(length).raw(&inner).0
}

pub fn api_versions(correlation: i32) -> Vec<u8> {
    let body = Bytes::default().string("0.50.1").string("linux").string("x86_64").0;
    frame(API_VERSIONS, 2, correlation, &body)
}

/// One record, well-formed, the first of its batch.
pub fn record(value: &[u8]) -> Vec<u8> {
    record_at(0, value)
}

/// One record at a place in its batch.
pub fn record_at(place: i64, value: &[u8]) -> Vec<u8> {
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let inner = Bytes::default().u8(0).varint(0).varint(place).u8(0).varint(length).raw(value).varint(0).0;
    Bytes::default().varint(i64::try_from(inner.len()).unwrap_or(i64::MAX)).raw(&inner).0
}

/// The records part of a batch: their count, then the records.
pub fn records(each: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Bytes::default().u32(u32::try_from(each.len()).unwrap_or(u32::MAX));
    for record in each {
        all = all.raw(record);
    }
    all.0
}

/// A batch with a right CRC over whatever its records part holds.
pub fn batch(attributes: i16, count: i32, records: &[u8]) -> Vec<u8> {
    let checked = Bytes::default()
        .i16(attributes)
        .i32(count - 1)
        .i64(-1)
        .i64(-1)
        .i64(-1)
        .i16(-1)
        .i32(-1)
        .raw(records)
        .0;
    let crc = crc32c::crc32c(&checked);
    let length = i32::try_from(checked.len() + 9).unwrap_or(i32::MAX);
    Bytes::default().i64(0).i32(length).i32(-1).u8(2).u32(crc).raw(&checked).0
}

/// A produce request for one partition; `batches` is the record set as it goes out.
pub fn produce(correlation: i32, topic: &str, partition: u32, batches: &[u8]) -> Vec<u8> {
    let size = i32::try_from(batches.len()).unwrap_or(i32::MAX);
    let body = Bytes::default()
        .u8(0) // no transaction
        .i16(1) // the leader acknowledges
        .i32(1500)
        .u32(1)
        .string(topic)
        .u32(1)
        .u32(partition)
        .i32(size)
        .raw(batches)
        .u32(0) // no SmartModules
        .0;
    frame(PRODUCE, SPU_VERSION, correlation, &body)
}

/// A request to stream a partition.
pub fn stream_fetch(correlation: i32, topic: &str, partition: u32, offset: i64, max_bytes: i32) -> Vec<u8> {
    let body = Bytes::default()
        .string(topic)
        .u32(partition)
        .i64(offset)
        .i32(max_bytes)
        .u8(0) // read uncommitted
        .u32(0) // no SmartModules
        .u8(0) // no consumer
        .0;
    frame(STREAM_FETCH, SPU_VERSION, correlation, &body)
}

/// A consumer's answer to a slice: it wants what begins at `offset`.
pub fn update_offsets(correlation: i32, stream_id: u32, offset: i64) -> Vec<u8> {
    let body = Bytes::default().u32(1).i64(offset).u32(stream_id).0;
    frame(UPDATE_OFFSETS, 0, correlation, &body)
}

pub fn send(stream: &mut impl Write, frame: &[u8]) -> anyhow::Result<()> {
    stream.write_all(frame)?;
    stream.flush()?;
    Ok(())
}

/// The next response: correlation id and body. `None` when the server closed the connection.
pub fn receive(stream: &mut impl Read) -> anyhow::Result<Option<(i32, Vec<u8>)>> {
    let mut head = [0; 4];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
        {
            anyhow::bail!("the server neither answers nor closes")
        }
        Err(_) => return Ok(None),
    }
    let length = usize::try_from(i32::from_be_bytes(head)).context("a negative length from the server")?;
    ensure!((4..64 << 20).contains(&length), "a response of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let correlation = i32::from_be_bytes([body[0], body[1], body[2], body[3]]);
    Ok(Some((correlation, body.split_off(4))))
}

/// The error code of a produce response for one partition, and the base offset when there was none.
pub fn produce_outcome(body: &[u8]) -> anyhow::Result<(i16, Option<i64>)> {
    // responses, topic name, partitions, partition index, error code (with a payload for some codes), base offset
    let at = |from: usize, count: usize| body.get(from..from + count).context("a short produce response");
    ensure!(at(0, 4)? == [0, 0, 0, 1], "one topic was sent");
    let name = usize::from(u16::from_be_bytes(at(4, 2)?.try_into()?));
    let code_at = 4 + 2 + name + 4 + 4;
    let code = i16::from_be_bytes(at(code_at, 2)?.try_into()?);
    let offset = if code == 0 { Some(i64::from_be_bytes(at(code_at + 2, 8)?.try_into()?)) } else { None };
    Ok((code, offset))
}
