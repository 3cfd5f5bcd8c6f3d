//! Decoding with the schema crates, kept from hurting the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::schema::{ApiMessage, Decoder, sc::AdminPublicDecodedRequest};
use crate::usage::Usage;

/// The client's bytes are not what they claim to be; its connection ends.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum Malformed {
    /// A length points past the end of the frame.
    #[error("the request ends before what its lengths announce")]
    Short,
    /// A value has no meaning.
    #[error("the request carries an invalid {0}")]
    Value(&'static str),
    /// A schema crate refused it.
    #[error("the request cannot be decoded: {0}")]
    Decode(String),
    /// A schema crate panicked on it.
    #[error("the request cannot be decoded")]
    Panic,
}

/// Runs a decoder of the schema crates (a `downcast`, for example) so that a panic in it costs the caller's
/// connection and not the process. Each one is counted: the number should stay 0.
pub fn guarded<T, E: std::fmt::Display>(
    usage: &Usage,
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T, Malformed> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Malformed::Decode(error.to_string())),
        Err(_) => {
            usage.decode_panics.add(1);
            Err(Malformed::Panic)
        }
    }
}

/// Decodes one body at `version`.
pub fn decode<T: Decoder>(usage: &Usage, mut body: Bytes, version: i16) -> Result<T, Malformed> {
    guarded(usage, || T::decode_from(&mut body, version))
}

/// Decodes a whole SC request, head included (`frame` starts at the api key).
pub fn decode_admin(usage: &Usage, mut frame: Bytes) -> Result<AdminPublicDecodedRequest, Malformed> {
    guarded(usage, || AdminPublicDecodedRequest::decode_from(&mut frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_decoder_is_an_error_and_is_counted() {
        let usage = Usage::default();
        let result = guarded(&usage, || -> Result<(), std::io::Error> {
            let short = Bytes::from_static(&[0]);
            let _ = short.slice(0..9);
            Ok(())
        });
        assert_eq!(result, Err(Malformed::Panic));
        assert_eq!(usage.decode_panics.get(), 1);
    }
}
