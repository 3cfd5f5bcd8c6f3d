//! TLS connections made by hand: any name, any certificate, any slicing of the bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::tenant::Credentials;

/// A peer that stays silent longer than this is judged silent.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// A TLS stream over TCP.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// How a ClientHello is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// As rustls writes it.
    Whole,
    /// One byte a TCP segment.
    Bytes,
    /// Two TLS records, the cut inside the handshake message.
    TwoRecords,
}

/// A client configuration that trusts `ca` and shows `identity` (certificate chain and key, PEM).
pub fn configuration(ca: &str, identity: Option<(&str, &str)>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match identity {
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// A plain connection with a time limit on each read.
pub fn tcp(gateway: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&gateway, SILENT_AFTER).context("cannot reach the gateway")?;
    stream.set_read_timeout(Some(SILENT_AFTER))?;
    stream.set_write_timeout(Some(SILENT_AFTER))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects and finishes the handshake, as far as the client can see: with TLS 1.3 a refused certificate shows at
/// the first read.
pub fn connect(
    gateway: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
    cut: Cut,
) -> anyhow::Result<Stream> {
    let name = ServerName::try_from(name.to_string())?;
    let mut session = ClientConnection::new(config, name)?;
    let mut stream = tcp(gateway)?;
    let mut hello = Vec::new();
    session.write_tls(&mut hello)?;
    send_cut(&mut stream, &hello, cut)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream).context("the handshake was refused")?;
    }
    Ok(StreamOwned::new(session, stream))
}

/// Connects to the SC with a tenant's own credentials.
pub fn connect_as(gateway: SocketAddr, who: &Credentials, name: &str) -> anyhow::Result<Stream> {
    connect(gateway, name, configuration(&who.ca, Some((&who.certificate, &who.key)))?, Cut::Whole)
}

/// The bytes of a well-formed ClientHello for a name.
pub fn hello_for(name: &str, config: Arc<ClientConfig>) -> anyhow::Result<Vec<u8>> {
    let mut session = ClientConnection::new(config, ServerName::try_from(name.to_string())?)?;
    let mut hello = Vec::new();
    session.write_tls(&mut hello)?;
    Ok(hello)
}

fn send_cut(stream: &mut TcpStream, hello: &[u8], cut: Cut) -> anyhow::Result<()> {
    match cut {
        Cut::Whole => stream.write_all(hello)?,
        Cut::Bytes => {
            for byte in hello {
                stream.write_all(&[*byte])?;
            }
        }
        Cut::TwoRecords => stream.write_all(&in_two_records(hello)?)?,
    }
    Ok(())
}

/// The same handshake message in two records instead of one.
pub fn in_two_records(hello: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (head, message) = hello.split_at_checked(5).context("a record has a header")?;
    let middle = message.len() / 3;
    let mut cut = Vec::new();
    for part in [&message[..middle], &message[middle..]] {
        cut.extend_from_slice(&head[..3]);
        cut.extend_from_slice(&u16::try_from(part.len())?.to_be_bytes());
        cut.extend_from_slice(part);
    }
    Ok(cut)
}

/// What a peer did with what it was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Closed or reset, after these bytes.
    Closed(Vec<u8>),
    /// Sent bytes and went on.
    Answered(Vec<u8>),
}

/// Reads until the peer closes or has sent something and pauses.
pub fn reaction(stream: &mut impl Read) -> anyhow::Result<Reaction> {
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(Reaction::Closed(seen)),
            Ok(count) => seen.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if seen.is_empty() {
                    bail!("neither an answer nor an end within {SILENT_AFTER:?}");
                }
                return Ok(Reaction::Answered(seen));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Reset, broken pipe, a TLS alert or an end without close_notify: gone all the same.
            Err(_) => return Ok(Reaction::Closed(seen)),
        }
    }
}
