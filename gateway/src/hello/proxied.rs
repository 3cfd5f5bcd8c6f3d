//! The PROXY protocol header, version 2, as a declared load balancer sends it before a client's first byte. From
//! such an address it is required, and from any other it is refused like every other byte that is no hello.
//!
//! | bytes | content |
//! |---|---|
//! | 0–11 | the signature |
//! | 12 | `20`: LOCAL (the balancer speaks for itself, a health check, say), or `21`: PROXY |
//! | 13 | `11`: TCP over IPv4, `21`: TCP over IPv6; of a LOCAL header anything |
//! | 14–15 | length of what follows, big-endian |
//! | 16… | source and destination address and port; what follows them (TLVs) is skipped |

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::HelloError;
use crate::relay::SIGNATURE;

/// What every header has.
const FIXED: usize = 16;
/// Addresses of IPv6 and all the extensions that balancers send fit many times over.
const MAX_REST: usize = 2048;

/// Reads the header within `limit` from `accepted`, and not one byte more: who the client is.
pub async fn read_proxied(
    balancer: &TcpStream,
    peer: SocketAddr,
    accepted: Instant,
    limit: Duration,
) -> Result<SocketAddr, HelloError> {
    let read = async {
        let mut fixed = [0; FIXED];
        fill(balancer, &mut fixed).await?;
        let head = Head::parse(&fixed).ok_or(HelloError::Malformed)?;
        let mut rest = vec![0; head.length];
        fill(balancer, &mut rest).await?;
        head.client(&rest, peer).ok_or(HelloError::Malformed)
    };
    timeout_at(accepted + limit, read).await.unwrap_or(Err(HelloError::Late))
}

/// Reads exactly so many bytes: what comes after them is the hello's.
async fn fill(socket: &TcpStream, mut room: &mut [u8]) -> Result<(), HelloError> {
    while !room.is_empty() {
        match socket.try_read(room) {
            Ok(0) => return Err(HelloError::Gone),
            Ok(n) => room = &mut room[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.readable().await.map_err(|_| HelloError::Gone)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(HelloError::Gone),
        }
    }
    Ok(())
}

/// The fixed part, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    from: From,
    length: usize,
}

/// For whom the balancer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Itself,
    ClientV4,
    ClientV6,
}

impl Head {
    /// `None`: not a header that says who the client is.
    fn parse(fixed: &[u8; FIXED]) -> Option<Self> {
        let (signature, [command, family, high, low]) = fixed
            .split_first_chunk::<12>()
            .and_then(|(signature, rest)| Some((signature, <[u8; 4]>::try_from(rest).ok()?)))?;
        if *signature != SIGNATURE {
            return None;
        }
        let (from, least) = match (command, family) {
            (0x20, _) => (From::Itself, 0),
            (0x21, 0x11) => (From::ClientV4, 12),
            (0x21, 0x21) => (From::ClientV6, 36),
            _ => return None,
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        (least..=MAX_REST).contains(&length).then_some(Head { from, length })
    }

    /// Who the client is, by the rest of the header.
    fn client(self, rest: &[u8], peer: SocketAddr) -> Option<SocketAddr> {
        let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
        match self.from {
            From::Itself => Some(peer),
            From::ClientV4 => {
                let address: [u8; 4] = rest.get(..4)?.try_into().ok()?;
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(address)), port(8)?))
            }
            From::ClientV6 => {
                let address: [u8; 16] = rest.get(..16)?.try_into().ok()?;
                Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address)).to_canonical(), port(32)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::relay::proxy_header;

    fn understood(header: &[u8], peer: SocketAddr) -> Option<SocketAddr> {
        let fixed = header.get(..FIXED)?.try_into().ok()?;
        let head = Head::parse(fixed)?;
        head.client(header.get(FIXED..FIXED + head.length)?, peer)
    }

    fn peer() -> SocketAddr {
        "10.0.0.1:5000".parse().unwrap()
    }

    #[test]
    fn what_we_write_ourselves_is_understood() {
        for (client, expected) in [
            ("192.0.2.1:4660", "192.0.2.1:4660"),
            ("[2001:db8::1]:4660", "[2001:db8::1]:4660"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1:1"),
        ] {
            let header = proxy_header(client.parse().unwrap(), "198.51.100.2:9443".parse().unwrap());
            assert_eq!(understood(&header, peer()), Some(expected.parse().unwrap()), "{client}");
            let header = proxy_header(client.parse().unwrap(), "[2001:db8::2]:9443".parse().unwrap());
            assert_eq!(understood(&header, peer()), Some(expected.parse().unwrap()), "{client}");
        }
    }

    #[test]
    fn a_balancer_may_speak_for_itself_and_add_what_we_do_not_read() {
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(understood(&local, peer()), Some(peer()));
        let mut extended = proxy_header("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        extended[15] += 5;
        extended.extend([4, 0, 2, 7, 7]);
        assert_eq!(understood(&extended, peer()), Some("192.0.2.1:1".parse().unwrap()));
    }

    #[test]
    fn what_says_not_who_the_client_is_is_no_header() {
        let good = proxy_header("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let with = |at: usize, byte: u8| {
            let mut header = good.clone();
            header[at] = byte;
            header
        };
        for (name, header) in [
            ("another signature", with(11, 0)),
            ("version 1", with(12, 0x11)),
            ("an unknown command", with(12, 0x22)),
            ("no family", with(13, 0)),
            ("datagrams", with(13, 0x12)),
            ("a socket of the balancer's machine", with(13, 0x31)),
            ("addresses of another family than it says", with(13, 0x21)),
            ("too short for its addresses", with(15, 11)),
            ("longer than anything that balancers send", with(14, 0xff)),
        ] {
            assert_eq!(understood(&header, peer()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_name_a_client_out_of_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            signed in any::<bool>(),
        ) {
            let header = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            let client = understood(&header, peer());
            prop_assert!(client.is_none() || header.starts_with(&SIGNATURE));
        }
    }
}
