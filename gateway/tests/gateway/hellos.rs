//! A client's hello as it is read, whole, in pieces, and changed by chance.

use gateway::hello::{HelloReader, Progress};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::hellos::real_hello;

const NAME: &str = "blue-fox.fluvio.test";

/// What comes of these bytes in pieces of this size.
fn read(bytes: &[u8], piece: usize) -> Progress {
    let mut reader = HelloReader::default();
    for piece in bytes.chunks(piece) {
        let progress = reader.take(piece);
        if progress != Progress::More {
            return progress;
        }
    }
    Progress::More
}

#[test]
fn an_honest_hello_names_its_server_however_it_comes() {
    let bytes = real_hello(NAME);
    for piece in [1, 7, 100, bytes.len()] {
        assert_eq!(read(&bytes, piece), Progress::Named(NAME.into()), "{piece}");
    }
    assert_eq!(read(&bytes[..bytes.len() - 1], 1), Progress::More);
}

proptest! {
    /// `PROPTEST_CASES=1000000` makes it a campaign.
    #[test]
    fn no_change_of_a_hello_panics_or_is_read_otherwise_in_pieces(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..5),
        piece in 1..300_usize,
    ) {
        let mut bytes = real_hello(NAME);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                // A run once more.
                _ => {
                    let run = bytes[at..(at + usize::from(byte)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, run);
                }
            }
        }
        let whole = read(&bytes, bytes.len());
        prop_assert_eq!(read(&bytes, piece), whole.clone());
        if let Progress::Named(name) = whole {
            prop_assert!(name.len() <= 253 && !name.is_empty());
            prop_assert_eq!(name.to_lowercase(), name);
        }
    }
}
