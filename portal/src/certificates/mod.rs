//! Client certificates: a request becomes a row, the signer answers it, a revocation is one more row changed.

pub mod csr;
pub mod issue;
pub mod pem;
pub mod profile;
