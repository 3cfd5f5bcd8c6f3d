//! The PROXY protocol header, version 2: who the client is, told to the server before the client's bytes.
//!
//! | bytes | content |
//! |---|---|
//! | 0–11 | `0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A`, which no other protocol starts with |
//! | 12 | `21`: version 2, command PROXY (on behalf of a client) |
//! | 13 | `11`: TCP over IPv4, or `21`: TCP over IPv6 |
//! | 14–15 | length of what follows, big-endian: 12 or 36 |
//! | 16… | source address, destination address (4 or 16 bytes each) |
//! | … | source port, destination port (2 bytes each, big-endian) |
//!
//! 28 bytes for IPv4, 52 for IPv6. An IPv4 client on a dual-stack listener is told as IPv4, so that a
//! server's limits and audit see one spelling of an address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// With it every header of version 2 begins.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a connection from `client` to `gateway`, the address on which it was accepted.
pub fn proxy_header(client: SocketAddr, gateway: SocketAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(52);
    header.extend_from_slice(&SIGNATURE);
    header.push(VERSION_2_PROXY);
    match (client.ip().to_canonical(), gateway.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.push(TCP_OVER_IPV4);
            header.extend_from_slice(&12_u16.to_be_bytes());
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            header.push(TCP_OVER_IPV6);
            header.extend_from_slice(&36_u16.to_be_bytes());
            header.extend_from_slice(&wide(source).octets());
            header.extend_from_slice(&wide(destination).octets());
        }
    }
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&gateway.port().to_be_bytes());
    header
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_where_the_protocol_wants_it() {
        let start = "0d0a0d0a000d0a515549540a";
        let cases = [
            ("192.0.2.1:4660", "198.51.100.2:9443", format!("{start}2111000cc0000201c6336402123424e3")),
            (
                "[::ffff:192.0.2.1]:4660",
                "198.51.100.2:9443",
                format!("{start}2111000cc0000201c6336402123424e3"),
            ),
            (
                "[2001:db8::1]:4660",
                "[2001:db8::2]:9443",
                format!(
                    "{start}21210024{}{}123424e3",
                    "20010db8000000000000000000000001", "20010db8000000000000000000000002"
                ),
            ),
            (
                "[2001:db8::1]:4660",
                "198.51.100.2:9443",
                format!(
                    "{start}21210024{}{}123424e3",
                    "20010db8000000000000000000000001", "00000000000000000000ffffc6336402"
                ),
            ),
        ];
        for (client, gateway, expected) in cases {
            let header = proxy_header(client.parse().unwrap(), gateway.parse().unwrap());
            assert_eq!(hex::encode(header), expected, "{client}");
        }
    }
}
