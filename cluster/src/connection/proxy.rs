//! The PROXY protocol, version 2: where a gateway says whose connection it passes on.
//!
//! Twelve fixed bytes, version and command, family, length of the rest, then addresses and extensions. Only
//! what our gateway sends is accepted: TCP over IPv4 or IPv6, or LOCAL for its own probes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// Addresses take 36 bytes at most; the rest is extensions, which are read over.
const MAX_VARIABLE: usize = 512;

/// The header is missing or not one that is accepted.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Other bytes than a header.
    #[error("the connection does not begin with a PROXY v2 header")]
    Signature,
    /// A header for something else than a TCP connection.
    #[error("the PROXY header is not for a TCP connection")]
    Kind,
    /// Too short for its addresses, or longer than accepted.
    #[error("the PROXY header has a wrong length")]
    Length,
    /// The socket failed or ended.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads exactly the header; the next byte is the client's. `None` for the gateway's own probes.
pub async fn read_header<R: AsyncRead + Unpin>(socket: &mut R) -> Result<Option<SocketAddr>, ProxyError> {
    let mut fixed = [0; FIXED];
    socket.read_exact(&mut fixed).await?;
    let n_variable = variable_length(&fixed)?;
    let mut variable = [0; MAX_VARIABLE];
    let variable = &mut variable[..n_variable];
    socket.read_exact(variable).await?;
    source(&fixed, variable)
}

fn variable_length(fixed: &[u8; FIXED]) -> Result<usize, ProxyError> {
    if fixed[..12] != SIGNATURE {
        return Err(ProxyError::Signature);
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_VARIABLE { Err(ProxyError::Length) } else { Ok(length) }
}

fn source(fixed: &[u8; FIXED], variable: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    match (fixed[12], fixed[13]) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => address::<4>(variable, 8, |ip| Ipv4Addr::from(ip).into()).map(Some),
        (0x21, 0x21) => address::<16>(variable, 32, |ip| Ipv6Addr::from(ip).into()).map(Some),
        _ => Err(ProxyError::Kind),
    }
}

/// Source and destination address of `N` bytes each, then the two ports: the source is what counts.
fn address<const N: usize>(
    variable: &[u8],
    port_at: usize,
    ip: impl Fn([u8; N]) -> IpAddr,
) -> Result<SocketAddr, ProxyError> {
    let bytes = variable.first_chunk::<N>().ok_or(ProxyError::Length)?;
    let ports = variable.get(port_at..port_at + 4).ok_or(ProxyError::Length)?;
    Ok(SocketAddr::new(ip(*bytes), u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(variable.len()).unwrap().to_be_bytes());
        bytes.extend(variable);
        bytes
    }

    #[tokio::test]
    async fn the_clients_address_is_read_and_nothing_after_the_header() {
        let v4 = [10, 0, 0, 7, 127, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];
        let mut v6 = vec![0; 36];
        v6[15] = 1;
        v6[32..34].copy_from_slice(&80u16.to_be_bytes());
        let mut with_extension = v4.to_vec();
        with_extension.extend([4, 0, 1, 0]);
        for (bytes, expected) in [
            (header(0x21, 0x11, &v4), Some("10.0.0.7:12345".parse().unwrap())),
            (header(0x21, 0x11, &with_extension), Some("10.0.0.7:12345".parse().unwrap())),
            (header(0x21, 0x21, &v6), Some("[::1]:80".parse().unwrap())),
            (header(0x20, 0x00, &[]), None),
        ] {
            let mut stream = bytes;
            stream.push(0x16);
            let mut socket = stream.as_slice();
            assert_eq!(read_header(&mut socket).await.unwrap(), expected);
            assert_eq!(socket, [0x16]);
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let mut too_long = header(0x21, 0x11, &[0; 12]);
        too_long[14..16].copy_from_slice(&513u16.to_be_bytes());
        too_long.extend([0; 600]);
        for bytes in [
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaa".to_vec(),
            header(0x22, 0x11, &[0; 12]),
            header(0x11, 0x11, &[0; 12]),
            header(0x21, 0x12, &[0; 12]),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 35]),
            too_long,
            header(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ] {
            assert!(read_header(&mut bytes.as_slice()).await.is_err(), "{bytes:02x?}");
        }
    }
}
