//! The servers' TLS configuration, made from the settings' identity.

use std::sync::Arc;

use cluster_settings::Identity;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ServerName;

/// The identity does not make a server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text without what it should hold.
    #[error("no {0} can be read from the PEM text")]
    Pem(&'static str),
    /// The client CAs cannot be used.
    #[error("the client CA cannot be used: {0}")]
    ClientCa(String),
    /// The key does not match the certificate, or rustls refuses one of them.
    #[error("the server's key and certificate cannot be used: {0}")]
    Key(String),
}

/// One identity, ready for SC and SPU.
#[derive(Clone)]
pub struct ServerTls {
    sc: Arc<ServerConfig>,
    spu: Arc<ServerConfig>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads key and certificates and checks that they belong together.
    pub fn build(identity: &Identity) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(client_roots(identity)?),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| TlsError::ClientCa(error.to_string()))?;
        let chain = certificates(&identity.certificate_pem, "server certificate")?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
            .map_err(|_| TlsError::Pem("private key"))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| TlsError::Key(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Key(error.to_string()))?;
        Ok(Self { sc: with_own_tickets(config.clone())?, spu: with_own_tickets(config)? })
    }

    /// The configuration for this server.
    pub fn config(&self, name: &ServerName) -> Arc<ServerConfig> {
        match name {
            ServerName::Sc => Arc::clone(&self.sc),
            ServerName::Spu(_) => Arc::clone(&self.spu),
        }
    }
}

/// Tickets are kept by the client, so a thousand idle clients cost no memory here. What a resumed session's
/// certificate may do is decided anew like any other's.
fn with_own_tickets(mut config: ServerConfig) -> Result<Arc<ServerConfig>, TlsError> {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Key(error.to_string()))?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn client_roots(identity: &Identity) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&identity.client_ca_pem, "client CA")? {
        roots.add(root).map_err(|error| TlsError::ClientCa(error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Pem(what))?;
    if found.is_empty() { Err(TlsError::Pem(what)) } else { Ok(found) }
}
