//! Produce requests, made before the clock runs.

use anyhow::ensure;
use rand::RngExt;

use crate::wire;

/// Where the correlation id is in a frame: after its length, the API key and the version.
const CORRELATION: std::ops::Range<usize> = 8..12;

/// A request with one batch for one partition. Between two sendings only its correlation id changes: the SPU gives
/// the batch its offset, which the checksum does not cover.
#[derive(Debug, Clone)]
pub struct Prepared {
    frame: Vec<u8>,
    n_records: usize,
    value_bytes: usize,
}

impl Prepared {
    pub fn new(topic: &str, partition: u32, values: &[Vec<u8>]) -> anyhow::Result<Prepared> {
        ensure!(!values.is_empty(), "a batch has a record at least");
        let records: Vec<Vec<u8>> =
            values.iter().zip(0..).map(|(value, place)| wire::record_at(place, value)).collect();
        let batch = wire::batch(0, i32::try_from(values.len())?, &wire::records(&records));
        let frame = wire::produce(0, topic, partition, &batch);
        Ok(Prepared { frame, n_records: values.len(), value_bytes: values.iter().map(Vec::len).sum() })
    }

    /// `count` requests of as many records, whose bytes nothing could compress.
    pub fn random(
        topic: &str,
        count: usize,
        (records, bytes): (usize, usize),
    ) -> anyhow::Result<Vec<Prepared>> {
        let value = || (0..bytes).map(|_| rand::rng().random()).collect();
        (0..count)
            .map(|_| Prepared::new(topic, 0, &(0..records).map(|_| value()).collect::<Vec<_>>()))
            .collect()
    }

    /// The bytes to send under this correlation id.
    pub fn frame(&mut self, correlation: i32) -> &[u8] {
        self.frame[CORRELATION].copy_from_slice(&correlation.to_be_bytes());
        &self.frame
    }

    pub fn n_records(&self) -> usize {
        self.n_records
    }

    /// Bytes of the records' values alone.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sent_again_differs_in_its_correlation_id_only() {
        let mut prepared = Prepared::new("numbers", 3, &[b"one".to_vec(), b"two".to_vec()]).unwrap();
        let (first, again) = (prepared.frame(1).to_vec(), prepared.frame(0x0102_0304).to_vec());
        let records = [wire::record_at(0, b"one"), wire::record_at(1, b"two")];
        let batch = wire::batch(0, 2, &wire::records(&records));
        assert_eq!(first, wire::produce(1, "numbers", 3, &batch));
        assert_eq!(again, wire::produce(0x0102_0304, "numbers", 3, &batch));
        assert_eq!((prepared.n_records(), prepared.value_bytes()), (2, 6));
    }

    #[test]
    fn a_batch_without_records_is_not_made() {
        assert!(Prepared::new("numbers", 0, &[]).is_err());
    }
}
