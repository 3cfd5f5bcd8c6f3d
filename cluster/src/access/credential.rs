//! What a client's certificate says, once its chain has been verified.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster_settings::{LOCAL_PRINCIPAL, Principal, Settings, serial_text};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// When a client without a certificate has to show one: never. It is the year 9999.
const NEVER: Duration = Duration::from_secs(253_402_300_799);

/// The facts of one client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who it names.
    pub principal: Principal,
    /// Its serial number, as the access list writes them; empty without a certificate.
    pub serial: String,
    /// When it ends.
    pub not_after: SystemTime,
}

/// The certificate names nobody.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialError {
    /// Not a certificate.
    #[error("the client certificate cannot be read")]
    Unreadable,
    /// None, or several: then which one counts would be a guess.
    #[error("the client certificate must carry exactly one URI, and carries {0}")]
    Uris(usize),
    /// The URI is not one of ours.
    #[error("the client certificate names no principal of this cloud")]
    Principal,
}

impl Credential {
    /// Of a client that came over loopback to a cluster without TLS.
    pub fn local(settings: &Settings) -> Self {
        let principal = Principal { tenant: settings.tenant, cluster: settings.cluster, id: LOCAL_PRINCIPAL };
        Self { principal, serial: String::new(), not_after: UNIX_EPOCH + NEVER }
    }

    /// Reads the leaf of a chain that rustls has verified.
    pub fn of(leaf: &CertificateDer<'_>) -> Result<Self, CredentialError> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| CredentialError::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| CredentialError::Unreadable)?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        let [uri] = uris[..] else { return Err(CredentialError::Uris(uris.len())) };
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Self {
            principal: uri.parse().map_err(|_| CredentialError::Principal)?,
            serial: serial_text(certificate.raw_serial()),
            not_after: UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH),
        })
    }
}
