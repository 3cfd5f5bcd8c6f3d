//! What SC and SPU say they understand.

use super::encode::{EncodeError, Frame, response};
use super::request::Header;
use super::schema::ErrorCode;
use fluvio_protocol::link::versions::{ApiVersionKey, ApiVersionsResponse, PlatformVersion};

/// The platform version that clients compare with their minimum and the CLI prints: upstream's release whose
/// behaviour is served here.
pub const PLATFORM_VERSION: &str = "0.18.1";

/// Api key of the request every connection begins with.
pub const API_VERSIONS: u16 = 18;

/// Which server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The streaming controller.
    Sc,
    /// A stream processing unit.
    Spu,
}

/// (api key, lowest version, highest version)
type Range = (u16, i16, i16);

const SC: &[Range] = &[
    (API_VERSIONS, 0, 2),
    (1001, 9, 19),
    (1002, 1, 19),
    (1003, 15, 19),
    (1004, 15, 19),
    (1005, 14, 19),
    (1006, 1, 19),
];

const SPU: &[Range] = &[
    (API_VERSIONS, 0, 2),
    (0, 0, 25),
    (1002, 23, 25),
    (1003, 23, 25),
    (1005, 0, 0),
    (1006, 23, 25),
    (1007, 23, 25),
    (1008, 23, 25),
];

impl Server {
    fn ranges(self) -> &'static [Range] {
        match self {
            Server::Sc => SC,
            Server::Spu => SPU,
        }
    }

    /// Whether this server answers this request at this version.
    pub fn understands(self, header: &Header) -> bool {
        self.ranges()
            .iter()
            .any(|(key, low, high)| header.key == *key && (*low..=*high).contains(&header.version))
    }
}

/// The answer to an ApiVersions request.
pub fn api_versions(server: Server, header: &Header) -> Result<Frame, EncodeError> {
    let key = |&(key, min_version, max_version): &Range| ApiVersionKey {
        // The wire has an i16 here and a u16 in the header; every key in the tables fits both.
        api_key: key.cast_signed(),
        min_version,
        max_version,
    };
    let platform = semver(PLATFORM_VERSION);
    let body = ApiVersionsResponse {
        error_code: ErrorCode::None,
        api_keys: server.ranges().iter().map(key).collect(),
        platform_version: platform,
    };
    response(header, &body)
}

/// `PlatformVersion` can only be built from a decoded string or from a type of another crate.
fn semver(text: &str) -> PlatformVersion {
    use super::schema::Decoder;
    let mut encoded = Vec::with_capacity(text.len() + 2);
    encoded.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    encoded.extend_from_slice(text.as_bytes());
    PlatformVersion::decode_from(&mut encoded.as_slice(), 0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::schema::Decoder;
    use super::*;

    #[test]
    fn the_answer_names_the_platform_and_every_key() {
        let header = Header { key: API_VERSIONS, version: 2, correlation_id: 7 };
        let frame = api_versions(Server::Spu, &header).unwrap();
        let bytes: Vec<u8> = frame.parts().flat_map(|part| part.to_vec()).collect();
        let answer = ApiVersionsResponse::decode_from(&mut &bytes[8..], 2).unwrap();
        assert_eq!(answer.platform_version.to_semver().to_string(), PLATFORM_VERSION);
        assert_eq!(answer.api_keys.len(), SPU.len());
        assert_eq!(bytes[..4], i32::try_from(bytes.len() - 4).unwrap().to_be_bytes());
        assert_eq!(bytes[4..8], 7i32.to_be_bytes());
    }

    #[test]
    fn versions_outside_the_range_are_not_understood() {
        let at = |key, version| Header { key, version, correlation_id: 0 };
        for (server, header, expected) in [
            (Server::Sc, at(1001, 19), true),
            (Server::Sc, at(1001, 20), false),
            (Server::Sc, at(1003, 14), false),
            (Server::Spu, at(0, 25), true),
            (Server::Spu, at(0, -1), false),
            (Server::Spu, at(1003, 22), false),
            (Server::Spu, at(9999, 1), false),
        ] {
            assert_eq!(server.understands(&header), expected, "{header:?}");
        }
    }
}
