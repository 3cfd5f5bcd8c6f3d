//! The server's key and the request for its certificate.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use time::{Duration, OffsetDateTime};

/// A new key and its signing request.
pub struct NewKey {
    /// PKCS#8, PEM.
    pub key_pem: String,
    /// PKCS#10, DER. Without names: the signer takes none from it.
    pub csr_der: Vec<u8>,
}

/// Makes a new P-256 key.
pub fn make() -> Result<NewKey, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr_der = params.serialize_request(&key)?.der().to_vec();
    Ok(NewKey { key_pem: key.serialize_pem(), csr_der })
}

/// Whether a certificate is past two thirds of its life.
pub fn is_old(not_after: OffsetDateTime, lifetime: Duration, now: OffsetDateTime) -> bool {
    now >= not_after - lifetime / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let lifetime = Duration::days(90);
        let issued = OffsetDateTime::UNIX_EPOCH;
        let old = |days| is_old(issued + lifetime, lifetime, issued + Duration::days(days));
        assert_eq!([0, 59, 60, 89, 91].map(old), [false, false, true, true, true]);
    }
}
