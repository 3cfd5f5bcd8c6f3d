//! Batches of the Fluvio wire, read with bounds and checked before anything trusts them.
//!
//! ```text
//! byte  0  base offset            i64   given by the log; outside of the checksum
//!       8  length                 i32   of everything behind this field
//!      12  partition leader epoch i32   given by the log; outside of the checksum
//!      16  magic                  i8    2
//!      17  checksum               u32   crc32c of everything behind this field
//!      21  attributes             i16   bits 0-2 codec, bit 4 "has a schema id"
//!      23  last offset delta      i32   records - 1
//!      27  first timestamp        i64   ms, -1 for none
//!      35  max timestamp          i64   ms, -1 for none
//!      43  producer id            i64
//!      51  producer epoch         i16
//!      53  first sequence         i32
//!      57  [schema id             u32   if attributes & 0x10]
//!          records                      compressed as a whole if the codec is not 0
//! ```
//! All numbers are big endian. A [`Batch`] exists only checked: length, magic, codec, delta and checksum.

mod records;

pub use records::{RecordsError, check_records, read_records};

use bytes::Bytes;

/// Bytes of the header that every batch has.
pub const HEADER_BYTES: usize = 57;
/// Bytes before what the length field counts.
pub(crate) const PREAMBLE_BYTES: usize = 12;
/// Bytes that the log replaces when it stores a batch: base offset, length, leader epoch.
pub(crate) const PATCH_BYTES: usize = 16;
const MAGIC: u8 = 2;
const CHECKSUM_AT: usize = 17;
const CHECKED_FROM: usize = 21;
const CODEC_MASK: i16 = 0x07;
const SCHEMA_FLAG: i16 = 0x10;

/// What is wrong with a batch; the client sent it so, or the disk gave it back so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It ends before its own length says.
    #[error("a batch needs {needed} bytes and {available} are there")]
    Short {
        /// What the header asks for.
        needed: usize,
        /// What is there.
        available: usize,
    },
    /// The length field cannot be right.
    #[error("a batch length of {0} is impossible")]
    Length(i32),
    /// Larger than allowed here.
    #[error("a batch of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The batch's whole size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More batches than allowed in one record set.
    #[error("more than {0} batches in one record set")]
    TooMany(usize),
    /// Not the one format we know.
    #[error("unknown batch format {0}")]
    Magic(u8),
    /// A compression that does not exist.
    #[error("unknown compression {0}")]
    Codec(i16),
    /// It claims fewer than one record.
    #[error("a last offset delta of {0} is impossible")]
    LastOffsetDelta(i32),
    /// The bytes are not those that were sent.
    #[error("the checksum does not match (stored {stored:08x}, computed {computed:08x})")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The records inside lie about their lengths or their number.
    #[error("the records are malformed: {0}")]
    Records(&'static str),
}

/// How the records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Snappy, framed.
    Snappy,
    /// LZ4, framed.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Bounds for [`split`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest batch, all its bytes counted.
    pub batch_bytes: usize,
    /// Most batches in one record set.
    pub batches: usize,
}

/// The header of a batch, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the whole batch, the preamble counted.
    pub total_bytes: usize,
    /// Epoch of the leader that stored it.
    pub leader_epoch: i32,
    /// Stored checksum.
    pub checksum: u32,
    /// Codec and flags.
    pub attributes: i16,
    /// Records - 1.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 or -1.
    pub first_timestamp: i64,
    /// Milliseconds since 1970 or -1.
    pub max_timestamp: i64,
    /// Of a schema registry, if there is one.
    pub schema_id: Option<u32>,
}

impl Header {
    /// Decodes and checks all that can be checked without the rest of the batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(fixed) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Short { needed: HEADER_BYTES, available: bytes.len() });
        };
        let length = i32::from_be_bytes(take(fixed, 8));
        let attributes = i16::from_be_bytes(take(fixed, 21));
        let has_schema = attributes & SCHEMA_FLAG != 0;
        let least = HEADER_BYTES + if has_schema { 4 } else { 0 };
        let total_bytes = usize::try_from(length).map_err(|_| BatchError::Length(length))? + PREAMBLE_BYTES;
        if total_bytes < least {
            return Err(BatchError::Length(length));
        }
        if fixed[16] != MAGIC {
            return Err(BatchError::Magic(fixed[16]));
        }
        codec(attributes)?;
        let last_offset_delta = i32::from_be_bytes(take(fixed, 23));
        if last_offset_delta < 0 {
            return Err(BatchError::LastOffsetDelta(last_offset_delta));
        }
        let schema_id = match (has_schema, bytes[HEADER_BYTES..].first_chunk::<4>()) {
            (false, _) => None,
            (true, Some(id)) => Some(u32::from_be_bytes(*id)),
            (true, None) => return Err(BatchError::Short { needed: least, available: bytes.len() }),
        };
        Ok(Self {
            base_offset: i64::from_be_bytes(take(fixed, 0)),
            total_bytes,
            leader_epoch: i32::from_be_bytes(take(fixed, 12)),
            checksum: u32::from_be_bytes(take(fixed, CHECKSUM_AT)),
            attributes,
            last_offset_delta,
            first_timestamp: i64::from_be_bytes(take(fixed, 27)),
            max_timestamp: i64::from_be_bytes(take(fixed, 35)),
            schema_id,
        })
    }

    /// Records in the batch, as it claims.
    pub fn records(&self) -> i64 {
        i64::from(self.last_offset_delta) + 1
    }

    /// Offset behind the last record; none if there is no such number.
    pub fn next_offset(&self) -> Option<i64> {
        self.base_offset.checked_add(self.records())
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Codec {
        codec(self.attributes).unwrap_or(Codec::None)
    }

    /// Where the records begin in the batch.
    fn records_at(&self) -> usize {
        HEADER_BYTES + if self.schema_id.is_some() { 4 } else { 0 }
    }
}

/// One batch, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: Header,
    bytes: Bytes,
}

impl Batch {
    /// Takes a batch from the start of `bytes`; what is behind it is not looked at.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = verify(bytes)?;
        Ok(Self { header, bytes: bytes.slice(..header.total_bytes) })
    }

    /// The decoded header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The whole batch as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records, compressed if [`Header::codec`] says so.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.header.records_at()..]
    }

    /// Walks the records of an uncompressed batch and refuses one whose inner lengths or count lie. A
    /// compressed one is not looked into here: decompress [`Batch::payload`] under a cap into
    /// [`read_records`].
    pub fn check_records(&self) -> Result<(), BatchError> {
        match self.header.codec() {
            Codec::None => check_records(self.payload(), self.header.last_offset_delta),
            _ => Ok(()),
        }
    }

    /// The first bytes of the batch as the log stores them: with its offset and its leader's epoch.
    pub(crate) fn patched_head(&self, base_offset: i64, leader_epoch: i32) -> [u8; PATCH_BYTES] {
        let mut head = [0; PATCH_BYTES];
        head.copy_from_slice(&self.bytes[..PATCH_BYTES]);
        patch(&mut head, base_offset, leader_epoch);
        head
    }
}

/// Splits the bytes of a record set into its batches: every one checked, nothing left over.
pub fn split(record_set: &Bytes, limits: Limits) -> Result<Vec<Batch>, BatchError> {
    let mut batches = Vec::new();
    let mut rest = record_set.clone();
    while !rest.is_empty() {
        if batches.len() == limits.batches {
            return Err(BatchError::TooMany(limits.batches));
        }
        let header = Header::parse(&rest)?;
        if header.total_bytes > limits.batch_bytes {
            return Err(BatchError::TooLarge { bytes: header.total_bytes, limit: limits.batch_bytes });
        }
        let batch = Batch::parse(&rest)?;
        rest = rest.split_off(batch.bytes.len());
        batches.push(batch);
    }
    Ok(batches)
}

/// Puts offset and epoch into a stored batch, in place. Both lie outside of the checksum.
pub fn patch(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Some(head) = batch.first_chunk_mut::<PATCH_BYTES>() {
        head[..8].copy_from_slice(&base_offset.to_be_bytes());
        head[12..].copy_from_slice(&leader_epoch.to_be_bytes());
    }
}

/// Checks the batch at the start of `bytes`, checksum included.
pub(crate) fn verify(bytes: &[u8]) -> Result<Header, BatchError> {
    let header = Header::parse(bytes)?;
    let Some(batch) = bytes.get(..header.total_bytes) else {
        return Err(BatchError::Short { needed: header.total_bytes, available: bytes.len() });
    };
    let computed = crc32c::crc32c(&batch[CHECKED_FROM..]);
    if computed == header.checksum {
        Ok(header)
    } else {
        Err(BatchError::Checksum { stored: header.checksum, computed })
    }
}

fn codec(attributes: i16) -> Result<Codec, BatchError> {
    match attributes & CODEC_MASK {
        0 => Ok(Codec::None),
        1 => Ok(Codec::Gzip),
        2 => Ok(Codec::Snappy),
        3 => Ok(Codec::Lz4),
        4 => Ok(Codec::Zstd),
        other => Err(BatchError::Codec(other)),
    }
}

/// The `N` bytes at a place known to lie inside of the fixed header.
fn take<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}
