//! Reads a certificate signing request. Two things are taken from it: the public key, and the proof that the
//! sender holds the private key. Every name, extension and attribute in it is ignored.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Version};

/// No honest request for one of the two accepted key types comes near this.
pub const MAX_BYTES: usize = 16_384;

/// Why a request is refused. The texts go to the person who sent it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CsrError {
    /// Over [`MAX_BYTES`].
    #[error("The signing request is larger than {MAX_BYTES} bytes. Send one with nothing but a key in it.")]
    TooLarge,
    /// Not PKCS#10.
    #[error(
        "This is not a signing request (PKCS#10, DER). Make one with `fluvio cloud login`, or with `openssl req -new`."
    )]
    Malformed,
    /// A key type that is not accepted.
    #[error("The signing request's key is neither P-256 nor Ed25519. Make a new key of one of these types.")]
    Key,
    /// A signature type that does not go with the key.
    #[error(
        "The signing request is not signed with ECDSA and SHA-256 (for a P-256 key) or Ed25519. Sign it again with `-sha256`."
    )]
    Signature,
    /// The sender does not prove to hold the key.
    #[error(
        "The signing request's signature does not match its key. Make the request again with the same key."
    )]
    Possession,
}

/// A public key whose holder proved to have the private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    algorithm: KeyType,
    /// The key's bytes, as in the bit string of SubjectPublicKeyInfo.
    bytes: Vec<u8>,
    /// The whole SubjectPublicKeyInfo, DER, as it was sent.
    pub spki: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyType {
    P256,
    Ed25519,
}

impl PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.algorithm {
            KeyType::P256 => &PKCS_ECDSA_P256_SHA256,
            KeyType::Ed25519 => &PKCS_ED25519,
        }
    }
}

/// Checks a request and gives its key.
pub fn proven_key(der: &[u8]) -> Result<ProvenKey, CsrError> {
    if der.len() > MAX_BYTES {
        return Err(CsrError::TooLarge);
    }
    let (rest, csr) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
    let info = &csr.certification_request_info;
    if !rest.is_empty() || info.version != X509Version::V1 {
        return Err(CsrError::Malformed);
    }
    // The key's own type decides. rcgen would take it from the signature's algorithm instead, and turn a
    // P-256 key with a SHA-384 signature into a certificate that nobody can use.
    let algorithm = key_type(&info.subject_pki)?;
    let (wanted, verifier): (Oid<'_>, &dyn VerificationAlgorithm) = match algorithm {
        KeyType::P256 => (OID_SIG_ECDSA_WITH_SHA256, &ECDSA_P256_SHA256_ASN1),
        KeyType::Ed25519 => (OID_SIG_ED25519, &ED25519),
    };
    if csr.signature_algorithm.algorithm != wanted || csr.signature_algorithm.parameters.is_some() {
        return Err(CsrError::Signature);
    }
    let bytes = info.subject_pki.subject_public_key.data.to_vec();
    UnparsedPublicKey::new(verifier, &bytes)
        .verify(info.raw, &csr.signature_value.data)
        .map_err(|_| CsrError::Possession)?;
    Ok(ProvenKey { algorithm, bytes, spki: info.subject_pki.raw.to_vec() })
}

/// The type of a key, in the one encoding that is accepted: a P-256 point uncompressed, Ed25519 in 32 bytes.
fn key_type(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyType, CsrError> {
    let AlgorithmIdentifier { algorithm, parameters } = &spki.algorithm;
    let key = &spki.subject_public_key;
    if key.unused_bits != 0 {
        return Err(CsrError::Malformed);
    }
    if *algorithm == OID_SIG_ED25519 && parameters.is_none() && key.data.len() == 32 {
        return Ok(KeyType::Ed25519);
    }
    let curve = parameters.as_ref().and_then(|any| any.clone().oid().ok());
    let p256 = *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256);
    if p256 && key.data.len() == 65 && key.data[0] == 4 {
        return Ok(KeyType::P256);
    }
    Err(CsrError::Key)
}
