//! Proves that a client gets through the gateway to the right cluster: a TLS hello with the cluster's name,
//! answered with a certificate of the cluster's own CA.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A gateway on the way answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The gateway is not there, or does not know the way yet.
    #[error("{0}")]
    Unreached(#[from] std::io::Error),
    /// Nothing came in time.
    #[error("nothing within {TIMEOUT:?}")]
    Slow,
    /// The CA or the name cannot be used.
    #[error("{0}")]
    Setup(String),
}

/// Connects like a client without a certificate. Its own side of the handshake is done when the server's
/// certificate and signature were good; that the server then asks for a certificate and hangs up is right.
pub async fn probe(host: &str, port: u16, domain: &str, server_ca: &[u8]) -> Result<(), ProbeError> {
    let setup = |error: &dyn std::fmt::Display| ProbeError::Setup(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(server_ca.to_vec())).map_err(|error| setup(&error))?;
    // TLS 1.3 only: before it, the server's refusal comes within the handshake.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| setup(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(domain.to_owned()).map_err(|error| setup(&error))?;
    let connect = async {
        let stream = TcpStream::connect((host, port)).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(())
    };
    tokio::time::timeout(TIMEOUT, connect).await.unwrap_or(Err(ProbeError::Slow))
}
