//! Client certificates: a request becomes a row, the signer answers it, a revocation or other rights are one more row
//! changed.

pub mod csr;
pub mod issue;
pub mod pem;
pub mod profile;
pub mod rights;
