//! A cluster's certificate authorities: how they are made, kept and opened.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, GeneralSubtree, IsCa, Issuer,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use crate::policy::{BACKDATE, Kind};
use crate::seal::{Owner, SealError, Sealer};

/// How long a CA lives.
const LIFETIME: Duration = Duration::days(3652);

/// Bytes of a serial number.
const SERIAL_LENGTH: usize = 16;

/// Why a CA cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The sealed key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The key's bytes are not a P-256 key, or do not belong to the certificate.
    #[error("the opened key does not belong to the CA's certificate")]
    Key,
    /// The certificate could not be written or read.
    #[error("the CA's certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system's generator.
    #[error("no random bytes from the system")]
    Random,
}

/// A CA as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The CA's certificate.
    pub certificate_der: Vec<u8>,
    /// See [`crate::seal`].
    pub sealed_key: Vec<u8>,
    /// The end of its life.
    pub not_after: OffsetDateTime,
}

/// A CA ready to sign.
pub struct Authority {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// The end of its life.
    pub not_after: OffsetDateTime,
    /// For rcgen.
    pub issuer: Issuer<'static, AuthorityKey>,
}

/// The private key of a CA. Held by aws-lc alone, which wipes it when it is dropped.
pub struct AuthorityKey {
    pair: EcdsaKeyPair,
}

impl AuthorityKey {
    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, AuthorityError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
            .map_err(|_| AuthorityError::Key)?;
        Ok(Self { pair })
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| rcgen::Error::RingUnspecified)?.as_ref().to_vec())
    }
}

/// Makes a new CA for its owner. A server CA can sign names of the cluster's domain only, so that even its
/// stolen key opens no other cluster to a client that checks.
pub fn make(
    sealer: &Sealer,
    owner: &Owner,
    domain: &str,
    now: OffsetDateTime,
) -> Result<Kept, AuthorityError> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|_| AuthorityError::Random)?;
    let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
    let key = AuthorityKey::from_pkcs8(&pkcs8)?;
    let now = whole_seconds(now);
    let not_after = now + LIFETIME;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        // Unlike any other cluster's: OpenSSL finds an issuer by its name first.
        format!("Fluvio Cloud {} CA {}", owner.purpose.as_str(), owner.cluster),
    );
    params.not_before = now - BACKDATE;
    params.not_after = not_after;
    params.serial_number = Some(SerialNumber::from(serial()?));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    if owner.purpose == Kind::Server {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
            excluded_subtrees: Vec::new(),
        });
    }
    let certificate_der = params.self_signed(&key)?.der().to_vec();
    let sealed_key = sealer.seal(owner, &pkcs8)?;
    Ok(Kept { certificate_der, sealed_key, not_after })
}

/// Opens a kept CA.
pub fn open(sealer: &Sealer, owner: &Owner, kept: &Kept) -> Result<Authority, AuthorityError> {
    let key = AuthorityKey::from_pkcs8(&sealer.open(owner, &kept.sealed_key)?)?;
    let certificate = CertificateDer::from(kept.certificate_der.clone());
    // A certificate swapped in the database would make leaves that chain to nothing.
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| AuthorityError::Key)?;
    if parsed.public_key().raw != key.subject_public_key_info().as_slice() {
        return Err(AuthorityError::Key);
    }
    let not_after = parsed.validity().not_after.to_datetime();
    let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
    Ok(Authority { certificate, not_after, issuer })
}

/// A new serial number: 16 random bytes, the first not zero, so that the bytes in the row and in the
/// certificate are the same.
pub fn serial() -> Result<Vec<u8>, AuthorityError> {
    let mut serial = vec![0; SERIAL_LENGTH];
    while serial[0] == 0 {
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    }
    Ok(serial)
}

/// Certificates have no finer time.
pub fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    at - Duration::nanoseconds(i64::from(at.nanosecond()))
}

impl Kind {
    /// All of a cluster's CAs.
    pub const ALL: [Kind; 3] = [Kind::Server, Kind::Client, Kind::Internal];
}
