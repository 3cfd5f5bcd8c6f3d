//! Records that the servers write and read themselves. Clients' records stay the bytes they are.

use bytes::Bytes;
use cluster_storage::batch::Batch;
use fluvio_protocol::record::{Batch as RecordBatch, MemoryRecords, Record};

use super::schema::{Decoder, Encoder};
use super::{Malformed, guarded};
use crate::usage::Usage;

/// A record's key and value.
pub type KeyValue = (Bytes, Bytes);

/// One uncompressed batch of records made at `now_ms`, in milliseconds since 1970.
pub fn record_batch(records: &[KeyValue], now_ms: i64) -> Result<Bytes, super::EncodeError> {
    let mut batch = RecordBatch::<MemoryRecords>::new();
    for (key, value) in records {
        batch.add_record(Record::new_key_value(key.to_vec(), value.to_vec()));
    }
    let header = batch.get_mut_header();
    header.first_timestamp = now_ms;
    header.max_time_stamp = now_ms;
    let mut out = bytes::BytesMut::with_capacity(batch.write_size(0));
    super::encode::put(&mut out, &batch, 0)?;
    Ok(out.freeze())
}

/// The records of a batch that [`record_batch`] made; those without a key are passed over.
pub fn records_of(usage: &Usage, batch: &Batch) -> Result<Vec<KeyValue>, Malformed> {
    // The schema crate trusts the lengths inside, so they are checked first.
    batch.check_records().map_err(|error| Malformed::Decode(error.to_string()))?;
    let decoded =
        guarded(usage, || RecordBatch::<MemoryRecords>::decode_from(&mut batch.bytes().clone(), 0))?;
    let bytes = |data: &[u8]| Bytes::copy_from_slice(data);
    let key_value = |record: &Record| Some((bytes(record.key()?.as_ref()), bytes(record.value().as_ref())));
    Ok(decoded.records().iter().filter_map(key_value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_a_batch_that_storage_accepts() {
        let records = [
            (Bytes::from_static(b"first"), Bytes::from_static(b"1")),
            (Bytes::from_static(b"second"), Bytes::new()),
        ];
        let batch = Batch::parse(&record_batch(&records, 1_700_000_000_000).unwrap()).unwrap();
        assert_eq!(batch.header().records(), 2);
        assert_eq!(batch.header().first_timestamp, 1_700_000_000_000);
        assert_eq!(records_of(&Usage::default(), &batch).unwrap(), records);
    }
}
