//! What a compressed batch holds, looked at before it is stored as it came.
//!
//! The published clients decompress whatever a batch carries into memory and then trust the lengths inside. A
//! batch that is not of its codec, that opens into gigabytes, or whose records lie would be the consumers'
//! trouble for as long as it is kept, so it is refused where it comes in. The look is a stream: nothing is
//! kept of what was opened, and no length makes anything larger than a codec's own window.

use std::io::{self, BufRead, BufReader, Read};

use cluster_storage::batch::{Batch, Codec};

/// Bytes that a batch may open into: twice the largest message that a cluster takes.
const MOST_OPENED: u64 = 64 << 20;
/// The largest window that a zstd frame may ask of its reader, as a power of two: 16 MiB.
const ZSTD_WINDOW_LOG: u32 = 24;

/// Why a compressed batch is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// It does not open with its own codec, or not to its end.
    #[error("the batch is not what its codec says")]
    NotItsCodec,
    /// It opens into more than [`MOST_OPENED`] bytes.
    #[error("the batch opens into more than {MOST_OPENED} bytes")]
    TooLarge,
    /// What is inside lies about itself.
    #[error("the records were refused: {0}")]
    Records(&'static str),
}

/// Opens a compressed batch and walks over its records. A plain batch has nothing to open.
pub fn check(batch: &Batch) -> Result<(), Refused> {
    let payload = batch.payload();
    let records = batch.header().records();
    match batch.header().codec() {
        Codec::None => Ok(()),
        Codec::Gzip => walk(flate2::read::GzDecoder::new(payload), records),
        Codec::Snappy => walk(snap::read::FrameDecoder::new(payload), records),
        Codec::Lz4 => walk(lz4_flex::frame::FrameDecoder::new(payload), records),
        Codec::Zstd => {
            let mut opened =
                zstd::stream::read::Decoder::with_buffer(payload).map_err(|_| Refused::NotItsCodec)?;
            opened.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| Refused::NotItsCodec)?;
            walk(opened, records)
        }
    }
}

fn walk(opened: impl Read, records: i64) -> Result<(), Refused> {
    // One byte more than allowed, so that the limit itself is told from what lies beyond it.
    let mut walk = Walk { opened: BufReader::new(opened.take(MOST_OPENED + 1)), passed: 0 };
    let count = walk.count()?;
    if i64::from(count) != records {
        return Err(Refused::Records("the count differs from the last offset delta"));
    }
    for _ in 0..count {
        let length = walk.length()?;
        let end = walk.passed + length;
        walk.record(end)?;
        if walk.passed != end {
            return Err(Refused::Records("a record is shorter or longer than its length"));
        }
    }
    if walk.at_end()? { Ok(()) } else { Err(Refused::Records("bytes behind the last record")) }
}

/// A walk over opened bytes.
struct Walk<R> {
    opened: R,
    passed: u64,
}

impl<R: BufRead> Walk<R> {
    /// Attributes, two deltas, an optional key, a value and no headers, all before `end`.
    fn record(&mut self, end: u64) -> Result<(), Refused> {
        self.byte()?; // attributes, not used by anyone
        self.varint()?; // timestamp delta
        self.varint()?; // offset delta
        match self.byte()? {
            0 => {}
            1 => self.skip_bytes(end)?,
            _ => return Err(Refused::Records("a key flag is neither 0 nor 1")),
        }
        self.skip_bytes(end)?;
        if self.varint()? == 0 { Ok(()) } else { Err(Refused::Records("a record has headers")) }
    }

    fn count(&mut self) -> Result<u32, Refused> {
        let mut count = [0; 4];
        for byte in &mut count {
            *byte = self.byte()?;
        }
        Ok(u32::from_be_bytes(count))
    }

    fn byte(&mut self) -> Result<u8, Refused> {
        let Some(byte) = self.fill()?.first().copied() else {
            return Err(Refused::Records("a record ends early"));
        };
        self.pass(1)?;
        Ok(byte)
    }

    /// A signed number in zigzag form, of at most 32 bits: the published clients decode no others right.
    fn varint(&mut self) -> Result<i32, Refused> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let zigzag = u32::try_from(value).map_err(|_| Refused::Records("a number is too large"))?;
                return Ok((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()));
            }
        }
        Err(Refused::Records("a number is too long"))
    }

    fn length(&mut self) -> Result<u64, Refused> {
        u64::try_from(self.varint()?).map_err(|_| Refused::Records("a negative length"))
    }

    fn skip_bytes(&mut self, end: u64) -> Result<(), Refused> {
        let mut left = self.length()?;
        if left > end.saturating_sub(self.passed) {
            return Err(Refused::Records("a key or value is longer than its record"));
        }
        while left > 0 {
            let there = self.fill()?.len();
            if there == 0 {
                return Err(Refused::Records("a record ends early"));
            }
            let step = there.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.pass(step)?;
            left -= step as u64;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool, Refused> {
        Ok(self.fill()?.is_empty())
    }

    fn fill(&mut self) -> Result<&[u8], Refused> {
        loop {
            match self.opened.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Refused::NotItsCodec),
            }
        }
        // Filled already: this only hands it out.
        self.opened.fill_buf().map_err(|_| Refused::NotItsCodec)
    }

    fn pass(&mut self, bytes: usize) -> Result<(), Refused> {
        self.opened.consume(bytes);
        self.passed += bytes as u64;
        if self.passed > MOST_OPENED { Err(Refused::TooLarge) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A record set of one record with this value, by the layout of the Fluvio protocol.
    fn records(value: &[u8]) -> Vec<u8> {
        let varint = |value: usize| {
            let mut zigzag = value << 1;
            let mut bytes = Vec::new();
            while zigzag > 0x7f {
                bytes.push((zigzag & 0x7f) as u8 | 0x80);
                zigzag >>= 7;
            }
            bytes.push(zigzag as u8);
            bytes
        };
        let record = [&[0, 0, 0, 0][..], &varint(value.len()), value, &[0]].concat();
        [&1u32.to_be_bytes()[..], &varint(record.len()), &record].concat()
    }

    fn close(codec: Codec, plain: &[u8]) -> Vec<u8> {
        match codec {
            Codec::None => plain.to_vec(),
            Codec::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Codec::Snappy => {
                let mut writer = snap::write::FrameEncoder::new(Vec::new());
                writer.write_all(plain).unwrap();
                writer.into_inner().unwrap()
            }
            Codec::Lz4 => {
                let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
                writer.write_all(plain).unwrap();
                writer.finish().unwrap()
            }
            Codec::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
        }
    }

    /// A batch of one record, 57 bytes of header and its CRC before the payload.
    fn batch(codec: i16, payload: &[u8]) -> Batch {
        let mut covered = Vec::new();
        covered.extend(codec.to_be_bytes());
        covered.extend(0i32.to_be_bytes());
        covered.extend([0xff; 30]);
        covered.extend(payload);
        let mut bytes = Vec::new();
        bytes.extend(0i64.to_be_bytes());
        bytes.extend(i32::try_from(covered.len() + 9).unwrap().to_be_bytes());
        bytes.extend((-1i32).to_be_bytes());
        bytes.push(2);
        bytes.extend(crc32c(&covered).to_be_bytes());
        bytes.extend(covered);
        Batch::parse(&bytes.into()).unwrap()
    }

    /// CRC-32C (RFC 3720, appendix B.4), bit by bit.
    fn crc32c(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
            })
        })
    }

    const CODECS: [(i16, Codec); 4] =
        [(1, Codec::Gzip), (2, Codec::Snappy), (3, Codec::Lz4), (4, Codec::Zstd)];

    #[test]
    fn what_opens_into_its_records_is_taken() {
        for (number, codec) in CODECS {
            for value in [&b""[..], b"hello", &[7; 100_000]] {
                assert_eq!(check(&batch(number, &close(codec, &records(value)))), Ok(()), "{codec:?}");
            }
        }
    }

    #[test]
    fn what_is_not_of_its_codec_or_is_cut_is_refused() {
        for (number, codec) in CODECS {
            assert!(check(&batch(number, b"this is not it")).is_err(), "{codec:?}");
            assert!(check(&batch(number, &[0xff; 64])).is_err(), "{codec:?}");
            assert!(check(&batch(number, b"")).is_err(), "{codec:?}");
            let closed = close(codec, &records(b"hello, hello, hello, hello"));
            for cut in 0..closed.len() / 2 {
                assert!(check(&batch(number, &closed[..cut])).is_err(), "{codec:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn records_that_lie_inside_are_refused() {
        let good = records(b"hello");
        let two = [&2u32.to_be_bytes()[..], &good[4..]].concat();
        let longer = [&good[..], b"x"].concat();
        let mut endless = good.clone();
        endless[4..9].fill(0xff);
        let mut overlong = good.clone();
        overlong[9] = 0x7e;
        for (number, codec) in CODECS {
            for lie in [&two, &longer, &endless, &overlong, &good[..good.len() - 1].to_vec()] {
                let refused = check(&batch(number, &close(codec, lie)));
                assert!(matches!(refused, Err(Refused::Records(_))), "{codec:?} {lie:?}: {refused:?}");
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_after_a_bounded_look() {
        let bomb = records(&vec![0; 80 << 20]);
        for (number, codec) in CODECS {
            assert_eq!(check(&batch(number, &close(codec, &bomb))), Err(Refused::TooLarge), "{codec:?}");
        }
    }
}
