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

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::server::WebPkiClientVerifier;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    struct Ca {
        der: Vec<u8>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn ca() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Ca { der, issuer: Issuer::new(params, key) }
    }

    /// A server that, like a cluster's, talks to nobody without a client certificate.
    async fn server(ca: &Ca, name: &str) -> u16 {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &ca.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der.clone())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                assert!(acceptor.accept(stream).await.is_err(), "a probe has no certificate");
            }
        });
        port
    }

    #[tokio::test]
    async fn only_the_clusters_own_certificate_is_proof() {
        let (own, other) = (ca(), ca());
        let port = server(&own, "blue.fluvio.localhost").await;
        probe("127.0.0.1", port, "blue.fluvio.localhost", &own.der).await.unwrap();
        assert!(probe("127.0.0.1", port, "red.fluvio.localhost", &own.der).await.is_err(), "another name");
        assert!(probe("127.0.0.1", port, "blue.fluvio.localhost", &other.der).await.is_err(), "another CA");
    }

    #[tokio::test]
    async fn a_gateway_that_hangs_up_or_is_not_there_is_no_proof() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hang_up = tokio::spawn(async move { drop(listener.accept().await) });
        assert!(probe("127.0.0.1", port, "blue.fluvio.localhost", &ca().der).await.is_err());
        hang_up.await.unwrap();
        assert!(probe("127.0.0.1", port, "blue.fluvio.localhost", &ca().der).await.is_err());
    }
}
