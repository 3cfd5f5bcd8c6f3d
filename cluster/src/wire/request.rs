//! The head of a request.

use bytes::Bytes;

use super::{Fields, Malformed};

/// A request's api key, one number space for SC and SPU (1002 and 1003 mean different things to each).
pub type ApiKey = u16;

/// What every request carries before its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which request.
    pub key: ApiKey,
    /// The version at which the body is encoded and the response has to be.
    pub version: i16,
    /// Chosen by the client and sent back. Not unique on a connection: clients use 1 twice.
    pub correlation_id: i32,
}

/// One request as it arrived: its body is not decoded yet.
#[derive(Debug, Clone)]
pub struct Request {
    /// The head.
    pub header: Header,
    /// The rest of the frame.
    pub body: Bytes,
    /// The whole frame after its length, for decoders that want the head too.
    pub frame: Bytes,
}

impl Request {
    /// Splits a frame into head and body. The client id is read over: it is the client's own claim.
    pub fn parse(frame: Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::new(frame.clone());
        let header = Header { key: fields.u16()?, version: fields.i16()?, correlation_id: fields.i32()? };
        fields.string()?;
        Ok(Self { header, body: fields.into_rest(), frame })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_of_a_client_is_split() {
        let frame = b"\x00\x12\x00\x02\x00\x00\x00\x01\x00\x05dummy\x00\x065.50.1";
        let request = Request::parse(Bytes::from_static(frame)).unwrap();
        assert_eq!(request.header, Header { key: 18, version: 2, correlation_id: 1 });
        assert_eq!(&request.body[..], b"\x00\x065.50.1");
        for cut in 0..15 {
            assert!(Request::parse(Bytes::from_static(&frame[..cut])).is_err(), "{cut} bytes");
        }
    }
}
