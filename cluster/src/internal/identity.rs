//! The key and certificates with which the servers of one cluster know each other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{Resumption, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use serde::Deserialize;

/// Where they are: the section `[internal]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFiles {
    /// This process's certificate, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// The internal CA, PEM; several while one replaces another.
    pub ca_file: PathBuf,
    /// The DNS name that the certificate of every server of the cluster carries.
    pub name: String,
}

/// The files do not make an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// One cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// One holds something else.
    #[error("no {what} can be read from {path}")]
    Pem {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Not a DNS name.
    #[error("internal.name {0:?} is not a DNS name")]
    Name(String),
    /// They do not belong together, or rustls refuses one of them.
    #[error("the internal key and certificates cannot be used: {0}")]
    Unusable(String),
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

struct Loaded {
    contents: Contents,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// The identity as it is now: the files are looked at for every connection, so that renewed ones act without a
/// restart. What is half written or does not fit together changes nothing.
pub struct Identity {
    files: IdentityFiles,
    name: ServerName<'static>,
    loaded: Mutex<Loaded>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the files and checks that they belong together.
    pub fn load(files: IdentityFiles) -> Result<Self, IdentityError> {
        let name = ServerName::try_from(files.name.clone())
            .ok()
            .filter(|name| matches!(name, ServerName::DnsName(_)))
            .ok_or_else(|| IdentityError::Name(files.name.clone()))?;
        let loaded = Loaded::build(Contents::read(&files)?, &files, &name)?;
        Ok(Self { files, name, loaded: Mutex::new(loaded) })
    }

    /// The name that every peer's certificate must carry.
    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// For a connection that comes in.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        self.look(|loaded| loaded.server.clone())
    }

    /// For a connection that goes out.
    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.look(|loaded| loaded.client.clone())
    }

    /// Three small files that were read before: not worth a thread of its own.
    fn look<R>(&self, take: impl FnOnce(&Loaded) -> R) -> R {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = Contents::read(&self.files).and_then(|contents| match contents == loaded.contents {
            true => Ok(None),
            false => Loaded::build(contents, &self.files, &self.name).map(Some),
        });
        match renewed {
            Ok(None) => {}
            Ok(Some(renewed)) => {
                tracing::info!("the internal certificate was renewed");
                *loaded = renewed;
            }
            Err(error) => tracing::warn!(%error, "going on with the internal certificate of before"),
        }
        take(&loaded)
    }
}

impl Contents {
    fn read(files: &IdentityFiles) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|reason| IdentityError::Read { path: path.into(), reason })
        };
        Ok(Self {
            certificate: read(&files.certificate_file)?,
            key: read(&files.key_file)?,
            ca: read(&files.ca_file)?,
        })
    }
}

impl Loaded {
    fn build(
        contents: Contents,
        files: &IdentityFiles,
        name: &ServerName<'static>,
    ) -> Result<Self, IdentityError> {
        let unusable = |error: rustls::Error| IdentityError::Unusable(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&contents.certificate, &files.certificate_file)?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&contents.ca, &files.ca_file)? {
            roots.add(root).map_err(unusable)?;
        }
        let roots = Arc::new(roots);
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| IdentityError::Pem { what: "private key", path: files.key_file.clone() })?;
        // Each side checks the whole certificate each time: nothing is resumed.
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::new(NamedPeers::new(roots, name.clone(), provider)?))
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        server.send_tls13_tickets = 0;
        Ok(Self { contents, server: Arc::new(server), client: Arc::new(client) })
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let none = || IdentityError::Pem { what: "certificate", path: path.into() };
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// Lets in who has a certificate of the internal CA in the cluster's internal name. The CA alone would do today;
/// with the name, a certificate made for another purpose never will.
#[derive(Debug)]
struct NamedPeers {
    chain: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

impl NamedPeers {
    fn new(
        roots: Arc<RootCertStore>,
        name: ServerName<'static>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, IdentityError> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| IdentityError::Unusable(error.to_string()))?;
        Ok(Self { chain, name })
    }
}

impl ClientCertVerifier for NamedPeers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(leaf, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(leaf)?, &self.name)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
