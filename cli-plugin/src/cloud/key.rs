//! The client's key: made here, never sent anywhere. Only a request with the public half leaves this machine.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail};

/// A new key and the request to have it certified.
pub struct KeyAndRequest {
    /// The private key, PKCS#8 PEM.
    pub key: Zeroizing<String>,
    /// The certificate signing request, PEM.
    pub request: String,
}

/// Makes a P-256 key and signs a request with it. The signer takes only the public key from it, so the name inside is
/// for people who look at the request.
pub fn make_key() -> Result<KeyAndRequest, Failure> {
    let doing = "a key could not be made";
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).or_fail(doing)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "fluvio-cloud");
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    let request = params.serialize_request(&key).and_then(|request| request.pem()).or_fail(doing)?;
    Ok(KeyAndRequest { key: Zeroizing::new(key.serialize_pem()), request })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateSigningRequestParams, PublicKeyData};

    use super::*;

    #[test]
    fn the_request_proves_the_key_and_carries_nothing_else() {
        let made = make_key().unwrap();
        let request = CertificateSigningRequestParams::from_pem(&made.request).unwrap();
        let key = KeyPair::from_pem(&made.key).unwrap();
        assert_eq!(request.public_key.der_bytes(), key.der_bytes());
        assert!(request.params.subject_alt_names.is_empty());
        assert!(!made.request.contains("PRIVATE"));
    }

    #[test]
    fn two_keys_are_never_the_same() {
        assert_ne!(*make_key().unwrap().key, *make_key().unwrap().key);
    }
}
