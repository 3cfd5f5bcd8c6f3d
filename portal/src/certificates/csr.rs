//! Certificate signing requests as they come from outside: bounded and taken out of their PEM. What is inside is
//! the signer's to judge.

use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;

use crate::problem::Problem;

/// Bytes of a request as DER; the table allows no more either.
const MOST_DER: usize = 16 * 1024;
/// Bytes of a request as PEM.
const MOST_PEM: usize = 24 * 1024;

/// The DER bytes of the one request in a PEM text.
pub fn parse(pem: &str) -> Result<Vec<u8>, Problem> {
    let fault = |detail: &str| {
        let fix = "Send one PKCS#10 request as PEM, with a P-256 key (SHA-256) or an Ed25519 key.";
        Problem::invalid("csr", detail, fix)
    };
    if pem.len() > MOST_PEM {
        return Err(fault("The request is larger than 24 KiB."));
    }
    if pem.contains("PRIVATE KEY") {
        return Err(fault("The text holds a private key. It was not kept; keep such a key to yourself."));
    }
    let mut requests = CertificateSigningRequestDer::pem_slice_iter(pem.as_bytes());
    let der = match requests.next() {
        Some(Ok(der)) => der,
        Some(Err(_)) => return Err(fault("The PEM text cannot be read.")),
        None => return Err(fault("The text holds no CERTIFICATE REQUEST.")),
    };
    if requests.next().is_some() {
        return Err(fault("The text holds more than one request."));
    }
    // A request is a SEQUENCE; anything else need not wait for the signer to be refused.
    if der.as_ref().first() != Some(&0x30) || der.as_ref().len() > MOST_DER {
        return Err(fault("The request is not a PKCS#10 request of at most 16 KiB."));
    }
    Ok(der.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::pem;

    #[test]
    fn one_request_is_taken_and_everything_else_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let good = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        assert!(parse(&good).is_ok());
        for (what, text) in [
            ("nothing", String::new()),
            ("prose", "hello".into()),
            ("a certificate", pem::certificate(&[0x30, 0])),
            ("a key", key.serialize_pem()),
            ("a key behind the request", format!("{good}{}", key.serialize_pem())),
            ("two requests", format!("{good}{good}")),
            ("half a request", good[..good.len() / 2].into()),
            ("not a sequence", pem::encode("CERTIFICATE REQUEST", &[1, 2, 3])),
            ("too large", pem::encode("CERTIFICATE REQUEST", &vec![0x30; 17 * 1024])),
            ("far too large", "x".repeat(1 << 20)),
        ] {
            assert!(parse(&text).is_err(), "{what}");
        }
    }
}
