//! How a CA's private key rests in Postgres.
//!
//! A sealed key, byte by byte:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | version of this format: 1 |
//! | 1 to 12 | nonce of AES-256-GCM, random for each sealing |
//! | 13 to n−17 | the encrypted PKCS#8 document (DER) of the private key |
//! | n−16 to n−1 | the tag of AES-256-GCM |
//!
//! The authenticated data, which is not stored but must be the same at opening, is the tenant's UUID
//! (16 bytes), the cluster's UUID (16 bytes), the purpose (`server`, `client` or `internal`, ASCII) and the
//! version (1 byte). So a sealed key that is copied into another row, or whose version is changed, does not
//! open. The key is the 32 bytes of the signer's key file; random nonces are safe for 2³² sealings under one
//! key, a billion clusters.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::policy::Kind;

/// Length of the sealing key.
pub const KEY_LENGTH: usize = 32;

const VERSION: u8 = 1;

/// To whom a sealed key belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The organisation.
    pub tenant: Uuid,
    /// The cluster.
    pub cluster: Uuid,
    /// Which of its CAs.
    pub purpose: Kind,
}

impl Owner {
    fn authenticated_data(&self) -> Vec<u8> {
        let purpose = self.purpose.as_str().as_bytes();
        [self.tenant.as_bytes(), self.cluster.as_bytes(), purpose, &[VERSION]].concat()
    }
}

/// Why a key could not be sealed or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// Written by a later build, or not a sealed key.
    #[error("the sealed key has a format that this build does not know")]
    Format,
    /// Another sealing key, another row's key, or altered bytes.
    #[error(
        "the sealed key does not open: it was sealed under another key file, belongs to another row, or was altered"
    )]
    Unauthentic,
    /// The provider refused to work.
    #[error("the cipher failed")]
    Cipher,
}

/// Seals and opens under the key of the key file.
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    /// A sealer under these [`KEY_LENGTH`] bytes.
    pub fn new(key: &[u8]) -> Result<Self, SealError> {
        Ok(Self { key: RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| SealError::Cipher)? })
    }

    /// Seals a private key for its owner.
    pub fn seal(&self, owner: &Owner, private_key: &[u8]) -> Result<Vec<u8>, SealError> {
        // Encrypted in place; room for the tag from the start, so that no plain copy is left by a move.
        let mut body = Vec::with_capacity(private_key.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(private_key);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(owner.authenticated_data()), &mut body)
            .map_err(|_| SealError::Cipher)?;
        Ok([&[VERSION], nonce.as_ref().as_slice(), &body].concat())
    }

    /// Opens a sealed key, if it is this owner's.
    pub fn open(&self, owner: &Owner, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&VERSION, rest) = sealed.split_first().ok_or(SealError::Format)? else {
            return Err(SealError::Format);
        };
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Format)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Format)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(owner.authenticated_data()), &mut buffer)
            .map_err(|_| SealError::Unauthentic)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(purpose: Kind) -> Owner {
        Owner { tenant: Uuid::from_u128(1), cluster: Uuid::from_u128(2), purpose }
    }

    #[test]
    fn a_sealed_key_opens_for_its_own_row_only() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let own = owner(Kind::Server);
        let sealed = sealer.seal(&own, b"private").unwrap();
        assert_eq!(*sealer.open(&own, &sealed).unwrap(), b"private");
        for other in [
            owner(Kind::Client),
            owner(Kind::Internal),
            Owner { tenant: Uuid::from_u128(9), ..own },
            Owner { cluster: Uuid::from_u128(9), ..own },
            Owner { tenant: own.cluster, cluster: own.tenant, ..own },
        ] {
            assert_eq!(sealer.open(&other, &sealed), Err(SealError::Unauthentic), "{other:?}");
        }
        assert_eq!(Sealer::new(&[8; 32]).unwrap().open(&own, &sealed), Err(SealError::Unauthentic));
    }

    #[test]
    fn every_altered_byte_and_every_cut_is_noticed() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let own = owner(Kind::Client);
        let sealed = sealer.seal(&own, b"private").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(sealer.open(&own, &altered).is_err(), "byte {at}");
            assert!(sealer.open(&own, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_key_sealed_twice_looks_different() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let own = owner(Kind::Client);
        assert_ne!(sealer.seal(&own, b"private").unwrap(), sealer.seal(&own, b"private").unwrap());
    }
}
