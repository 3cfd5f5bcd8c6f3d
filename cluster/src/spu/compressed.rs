//! What a compressed batch holds, looked at before it is stored as it came.
//!
//! The published clients decompress whatever a batch carries into memory and then trust the lengths inside. A
//! batch that is not of its codec, that opens into gigabytes, or whose records lie would be the consumers'
//! trouble for as long as it is kept, so it is refused where it comes in. The look is a stream: nothing is
//! kept of what was opened, and no length makes anything larger than a codec's own window.

use std::io::{self, BufRead, BufReader, Read};

use cluster_storage::batch::{Batch, Codec, RecordsError, read_records};

/// Bytes that one batch may open into at the very most: a consumer holds them all in memory.
const MOST_OPENED: u64 = 256 << 20;
/// Bytes that each byte of a batch may open into without being counted as spare. Logs and JSON stay far
/// below.
const RATIO: u64 = 128;
/// Bytes that the batches of one request may open into beyond [`RATIO`]. Small batches of equal records need
/// it; shared by the whole request, it leaves nothing to gain from many small bombs.
const SPARE: u64 = 64 << 20;
/// Of that, what a batch may use that is opened where the request is handled.
const SPARE_AT_ONCE: u64 = 64 << 10;
/// The largest window that a zstd frame may ask of its reader, as a power of two: 16 MiB, twice what the
/// strongest ordinary level uses. The default would let each frame take 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 24;
/// Opened bytes in hand.
const PIECE: usize = 16 << 10;

/// Why a compressed batch is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not open with its own codec, or not to its end, or something is behind its end.
    #[error("the batch is not what its codec says")]
    NotItsCodec,
    /// It opens into more than it may.
    #[error("the batch opens into more than {0} bytes")]
    TooLarge(u64),
    /// What is inside lies about itself.
    #[error("the records are malformed: {0}")]
    Records(&'static str),
}

/// What the batches of one request may still open into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    spare: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { spare: SPARE }
    }
}

impl Allowance {
    /// Opens compressed batches and walks over their records. A plain batch has nothing to open.
    pub(super) fn check(&mut self, batches: &[Batch]) -> Result<(), Refused> {
        batches.iter().try_for_each(|batch| {
            let n_closed = batch.payload().len();
            let (n_opened, looked) = open(batch, self.of(n_closed));
            // Also when it is refused: the next batch of the request may be another of its kind.
            self.spend(n_closed, n_opened);
            looked
        })
    }

    /// The same for as little as can be done at once. What is too large for that may still be right.
    pub(super) fn check_at_once(&mut self, batches: &[Batch]) -> Result<(), Refused> {
        let before = self.spare.min(SPARE_AT_ONCE);
        let mut some = Self { spare: before };
        let looked = some.check(batches);
        if !matches!(looked, Err(Refused::TooLarge(_))) {
            self.spare -= before - some.spare;
        }
        looked
    }

    fn of(self, n_closed: usize) -> u64 {
        self.spare.saturating_add((n_closed as u64).saturating_mul(RATIO)).min(MOST_OPENED)
    }

    fn spend(&mut self, n_closed: usize, n_opened: u64) {
        let beyond = n_opened.saturating_sub((n_closed as u64).saturating_mul(RATIO));
        self.spare = self.spare.saturating_sub(beyond);
    }
}

/// Opens one batch into `limit` bytes at most, and says how many there were.
fn open(batch: &Batch, limit: u64) -> (u64, Result<(), Refused>) {
    let delta = batch.header().last_offset_delta;
    let mut closed = Closed { rest: batch.payload(), asked_for_more: false };
    let (n_opened, looked) = match batch.header().codec() {
        Codec::None => return (0, Ok(())),
        Codec::Gzip => walk(flate2::bufread::GzDecoder::new(&mut closed), delta, limit),
        Codec::Snappy => walk(snap::read::FrameDecoder::new(&mut closed), delta, limit),
        Codec::Lz4 => walk(lz4_flex::frame::FrameDecoder::new(&mut closed), delta, limit),
        Codec::Zstd => match zstd_decoder(&mut closed) {
            Ok(decoder) => walk(decoder, delta, limit),
            Err(_) => (0, Err(Refused::NotItsCodec)),
        },
    };
    // Where a frame of LZ4 should go on, its decoder takes the end of the input for the end of the frame.
    let cut = batch.header().codec() == Codec::Lz4 && closed.asked_for_more;
    let whole = closed.rest.is_empty() && !cut;
    (n_opened, looked.and(if whole { Ok(()) } else { Err(Refused::NotItsCodec) }))
}

fn zstd_decoder<R: BufRead>(closed: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(closed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn walk(decoder: impl Read, last_offset_delta: i32, limit: u64) -> (u64, Result<(), Refused>) {
    // One byte more than allowed, so that the limit itself is told from what lies beyond it.
    let mut opened = BufReader::with_capacity(PIECE, decoder.take(limit + 1));
    let walked = read_records(&mut opened, last_offset_delta);
    let n_opened = limit + 1 - opened.get_ref().limit();
    let looked = match walked {
        _ if n_opened > limit => Err(Refused::TooLarge(limit)),
        Ok(()) => Ok(()),
        Err(RecordsError::Malformed(lie)) => Err(Refused::Records(lie)),
        Err(RecordsError::Read(_)) => Err(Refused::NotItsCodec),
    };
    (n_opened, looked)
}

/// A batch's payload on its way into a decoder, which is not asked how far it came but watched.
struct Closed<'a> {
    rest: &'a [u8],
    asked_for_more: bool,
}

impl Read for Closed<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.asked_for_more |= self.rest.is_empty();
        self.rest.read(room)
    }
}

impl BufRead for Closed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.asked_for_more |= self.rest.is_empty();
        Ok(self.rest)
    }

    fn consume(&mut self, n_bytes: usize) {
        self.rest.consume(n_bytes);
    }
}

#[cfg(test)]
pub(super) mod tests {
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

    fn check(batch: &Batch) -> Result<(), Refused> {
        Allowance::default().check(std::slice::from_ref(batch))
    }

    #[test]
    fn what_opens_into_its_records_is_taken() {
        for (number, codec) in CODECS {
            for value in [&b""[..], b"hello", &[7; 100_000]] {
                assert_eq!(check(&batch(number, &close(codec, &records(value)))), Ok(()), "{codec:?}");
            }
        }
    }

    #[test]
    fn what_the_published_client_compresses_is_taken() {
        use fluvio_compression::Compression;
        let value: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 27) as u8).collect();
        let clients = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        for ((number, codec), client) in CODECS.into_iter().zip(clients) {
            let closed = client.compress(&records(&value)).unwrap();
            assert_eq!(check(&batch(number, &closed)), Ok(()), "{codec:?}");
        }
    }

    #[test]
    fn what_is_not_of_its_codec_is_refused() {
        let plain = records(b"hello");
        for (number, codec) in CODECS {
            for payload in [&b"this is not it"[..], &[0xff; 64], b"", &plain] {
                assert!(check(&batch(number, payload)).is_err(), "{codec:?} {payload:?}");
            }
            for (_, other) in CODECS.iter().filter(|(_, other)| *other != codec) {
                let swapped = check(&batch(number, &close(*other, &plain)));
                assert_eq!(swapped, Err(Refused::NotItsCodec), "{other:?} for {codec:?}");
            }
        }
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        for (number, codec) in CODECS {
            let closed = close(codec, &records(b"hello, hello, hello, hello"));
            for cut in 0..closed.len() {
                assert!(check(&batch(number, &closed[..cut])).is_err(), "{codec:?} cut at {cut}");
            }
            let again = [&closed[..], &closed].concat();
            assert!(check(&batch(number, &again)).is_err(), "{codec:?} twice");
            let junk = [&closed[..], b"junk"].concat();
            assert_eq!(check(&batch(number, &junk)), Err(Refused::NotItsCodec), "{codec:?} and junk");
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
    fn opening_stops_at_the_limit() {
        let plain = records(&vec![0; 2 << 20]);
        let n_plain = plain.len() as u64;
        for (number, codec) in CODECS {
            let batch = batch(number, &close(codec, &plain));
            assert_eq!(open(&batch, n_plain), (n_plain, Ok(())), "{codec:?}");
            for limit in [0, 5, 1 << 20, n_plain - 1] {
                assert_eq!(
                    open(&batch, limit),
                    (limit + 1, Err(Refused::TooLarge(limit))),
                    "{codec:?} {limit}"
                );
            }
        }
    }

    /// One record of two gigabytes in 65 kB: blocks of 131,072 times the same byte, by RFC 8878.
    pub(in crate::spu) fn zstd_bomb(n_blocks: u32) -> Vec<u8> {
        let block = 131_072u32;
        let mut head = vec![0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0];
        head.extend([0xec, 0xff, 0xff, 0xff, 0x0f]);
        // Magic, no flags, a window of 128 KiB; then a raw block with the lies and the repeated ones.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
        let raw = u32::try_from(head.len()).unwrap() << 3;
        frame.extend(&raw.to_le_bytes()[..3]);
        frame.extend(head);
        for left in (0..n_blocks).rev() {
            let repeated = block << 3 | 1 << 1 | u32::from(left == 0);
            frame.extend(&repeated.to_le_bytes()[..3]);
            frame.push(0);
        }
        frame
    }

    #[test]
    fn a_bomb_of_gigabytes_is_refused_after_a_bounded_look() {
        let bomb = zstd_bomb(32_768);
        assert!(bomb.len() < 140_000);
        let limit = SPARE + RATIO * bomb.len() as u64;
        assert_eq!(check(&batch(4, &bomb)), Err(Refused::TooLarge(limit)));
    }

    #[test]
    fn a_window_larger_than_allowed_is_refused() {
        let mut frame = zstd_bomb(1);
        frame[5] = 15 << 3; // 32 MiB
        assert_eq!(check(&batch(4, &frame)), Err(Refused::NotItsCodec));
    }

    #[test]
    fn many_small_bombs_share_one_spare() {
        let bomb = batch(1, &close(Codec::Gzip, &records(&vec![0; 1 << 20])));
        let mut allowance = Allowance { spare: 2 << 20 };
        let beyond = open(&bomb, MOST_OPENED).0 - RATIO * bomb.payload().len() as u64;
        assert_eq!(allowance.check(&[bomb.clone(), bomb.clone()]), Ok(()));
        assert_eq!(allowance.spare, (2 << 20) - 2 * beyond);
        assert!(matches!(allowance.check(&[bomb.clone(), bomb.clone()]), Err(Refused::TooLarge(_))));
        assert_eq!(allowance.spare, 0, "what is refused was opened as well");
    }

    #[test]
    fn what_is_opened_at_once_is_little_and_counts() {
        let (small, large) = (vec![0; 40 << 10], vec![0; 400 << 10]);
        let [small, large] = [small, large].map(|value| batch(4, &close(Codec::Zstd, &records(&value))));
        let mut allowance = Allowance::default();
        assert_eq!(allowance.check_at_once(std::slice::from_ref(&small)), Ok(()));
        assert!(allowance.spare < SPARE);
        let before = allowance;
        let refused = allowance.check_at_once(std::slice::from_ref(&large));
        assert!(matches!(refused, Err(Refused::TooLarge(_))), "{refused:?}");
        assert_eq!(allowance, before, "to be looked at in full");
        assert_eq!(allowance.check(&[large]), Ok(()));
    }

    #[test]
    fn the_allowance_grows_with_the_batch_up_to_the_most() {
        for (n_closed, spare, limit) in [
            (0, SPARE, SPARE),
            (1000, SPARE, SPARE + 128_000),
            (1000, 0, 128_000),
            (32 << 20, SPARE, MOST_OPENED),
            (usize::MAX, SPARE, MOST_OPENED),
        ] {
            assert_eq!(Allowance { spare }.of(n_closed), limit, "{n_closed} {spare}");
        }
    }
}
