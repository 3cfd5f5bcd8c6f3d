//! A cluster's TLS and a client that trusts it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixListener};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::backends::HEADER;

/// Keys of one cluster.
pub struct Tls {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
}

impl Tls {
    pub fn of(domain: &str) -> Self {
        let key = rcgen::generate_simple_self_signed([domain.to_owned(), format!("*.{domain}")]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let secret = PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], secret)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(key.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server: Arc::new(server), client: Arc::new(client) }
    }

    /// A server that ends the TLS and echoes.
    pub fn echo_at(&self, path: PathBuf) {
        let listener = UnixListener::bind(path).unwrap();
        let acceptor = TlsAcceptor::from(self.server.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut header = [0; HEADER];
                    stream.read_exact(&mut header).await?;
                    let (mut read, mut write) = tokio::io::split(acceptor.accept(stream).await?);
                    tokio::io::copy(&mut read, &mut write).await?;
                    tokio::io::AsyncWriteExt::shutdown(&mut write).await
                });
            }
        });
    }

    /// A client's handshake over a connection to the gateway.
    pub async fn connect(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(self.client.clone()).connect(name, stream).await
    }
}
