//! How one offset is stored.
//!
//! Key: version `u8` = 1, topic's incarnation (16 bytes), partition `u32`, topic (`u16` length, UTF-8),
//! consumer (the rest, UTF-8). Value: nothing if the consumer was forgotten, else version `u8` = 1, offset
//! `i64`, time in seconds since 1970 `u64`. All big-endian. A later record of the same key replaces an
//! earlier one.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::table::{Entry, Key};
use crate::link::PartitionKey;
use crate::wire::{Fields, KeyValue, Malformed};

const VERSION: u8 = 1;

/// As it is stored; `None` forgets the consumer.
pub(super) fn encode(key: &Key, entry: Option<&Entry>) -> KeyValue {
    let mut out = BytesMut::with_capacity(24 + key.replica.topic.len() + key.consumer.len());
    out.put_u8(VERSION);
    out.put_slice(key.topic_id.as_bytes());
    out.put_u32(key.replica.partition);
    // A topic's name has 63 bytes at most.
    out.put_u16(u16::try_from(key.replica.topic.len()).unwrap_or(0));
    out.put_slice(key.replica.topic.as_bytes());
    out.put_slice(key.consumer.as_bytes());
    let mut value = BytesMut::new();
    if let Some(entry) = entry {
        value.put_u8(VERSION);
        value.put_i64(entry.offset);
        value.put_u64(entry.modified);
    }
    (out.freeze(), value.freeze())
}

/// As it was meant.
pub(super) fn decode((key, value): KeyValue) -> Result<(Key, Option<Entry>), Malformed> {
    let mut fields = Fields::new(key);
    if fields.u8()? != VERSION {
        return Err(Malformed::Value("version of a consumer's key"));
    }
    let topic_id = Uuid::from_slice(&fields.slice(16)?).map_err(|_| Malformed::Value("incarnation"))?;
    let partition = fields.u32()?;
    let topic = fields.string()?;
    let consumer = String::from_utf8(fields.into_rest().into()).map_err(|_| Malformed::Value("consumer"))?;
    let key = Key { consumer, replica: PartitionKey { topic, partition }, topic_id };
    Ok((key, decode_entry(value)?))
}

fn decode_entry(value: Bytes) -> Result<Option<Entry>, Malformed> {
    if value.is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::new(value);
    if fields.u8()? != VERSION {
        return Err(Malformed::Value("version of a consumer's offset"));
    }
    let offset = fields.i64()?;
    let modified = fields.i64()?.cast_unsigned();
    Ok(Some(Entry { offset, modified }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_back() {
        let replica = PartitionKey { topic: "numbers".into(), partition: 7 };
        let key = Key { consumer: "grüppe".into(), replica, topic_id: Uuid::from_u128(9) };
        for entry in [None, Some(Entry { offset: 41, modified: 1_700_000_000 })] {
            let stored = encode(&key, entry.as_ref());
            assert_eq!(decode(stored.clone()).unwrap(), (key.clone(), entry));
            for cut in 0..30 {
                assert!(decode((stored.0.slice(..cut), stored.1.clone())).is_err(), "{cut} bytes");
            }
        }
        let (stored, _) = encode(&key, None);
        assert!(decode((stored.clone(), Bytes::from_static(&[2]))).is_err());
        assert!(decode((stored, Bytes::from_static(&[1, 0]))).is_err());
    }
}
