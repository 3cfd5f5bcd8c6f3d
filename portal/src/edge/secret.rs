//! Opaque secrets: 256 random bits as text for their holder, only their SHA-256 at rest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// A new secret of 256 bits, safe in a cookie and in a link.
pub fn make() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What rests in the database in place of a secret.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// A value that only the holder of `secret` could know, for one purpose. It does not reveal the secret.
pub fn derive(purpose: &str, secret: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(secret.as_bytes());
    URL_SAFE_NO_PAD.encode(hasher.finalize())
}

/// Compares without telling by time where two texts differ.
pub fn same(a: &str, b: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_different_and_url_safe() {
        let (a, b) = (make(), make());
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    }

    #[test]
    fn a_derived_value_depends_on_purpose_and_secret() {
        assert_ne!(derive("form", "x"), derive("other", "x"));
        assert_ne!(derive("form", "x"), derive("form", "y"));
        assert_ne!(derive("a", "bc"), derive("ab", "c"));
    }
}
