//! The hello as a pure decision: bytes in, "more", a name, or "no".

use rustls::server::Acceptor;

/// A hello of more bytes than this is refused. A post-quantum hello has about 1,800.
pub const MAX_HELLO: usize = 16 * 1024;

/// Where the reading of a hello stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So far a hello, but not a whole one.
    More,
    /// A whole hello that names a server.
    Named(String),
    /// A whole hello without a server name.
    Nameless,
    /// Not a TLS hello, or one that no server may take.
    Malformed,
}

/// Takes the bytes as they come, in pieces of any size.
#[derive(Default)]
pub struct HelloReader {
    acceptor: Acceptor,
}

impl HelloReader {
    /// Takes the next bytes of the stream. What follows the hello in `bytes` is left alone: it belongs to
    /// the cluster's server.
    pub fn take(&mut self, mut bytes: &[u8]) -> Progress {
        while !bytes.is_empty() {
            match self.acceptor.read_tls(&mut bytes) {
                Ok(0) | Err(_) => return Progress::Malformed,
                Ok(_) => {}
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return match accepted.client_hello().server_name() {
                        Some(name) => Progress::Named(name.to_owned()),
                        None => Progress::Nameless,
                    };
                }
                // The alert that rustls offers would tell malformed from unknown; all are refused alike.
                Err(_) => return Progress::Malformed,
            }
        }
        Progress::More
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use proptest::sample::Index;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    const NAME: &str = "blue-fox.fluvio.test";

    /// An honest hello.
    fn hello() -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

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
        let bytes = hello();
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
            let mut bytes = hello();
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
}
