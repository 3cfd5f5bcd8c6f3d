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
