//! What the signer must and must not sign.

mod certificates;
mod openssl;
mod postgres;
mod requests;
mod rows;
