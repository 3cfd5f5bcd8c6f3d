//! What the signer must and must not sign.

mod certificates;
mod openssl;
mod requests;
mod rows;
