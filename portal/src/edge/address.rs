//! The client's address: the socket's, or what a declared proxy says.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use cidr::IpInet;

use crate::app::App;
use crate::problem::Problem;

/// The address of the socket's other end, put into each request by the server.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address that rate limits count: an IPv6 client owns its whole /64.
    pub fn rate_key(self) -> IpAddr {
        match self.0 {
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none() => {
                IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into())
            }
            ip => ip,
        }
    }
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Walks `X-Forwarded-For` from its end, as long as the one who appended is trusted.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpInet]) -> IpAddr {
    let mut address = peer.to_canonical();
    let named = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
    for name in named.iter().rev() {
        if !trusted.iter().any(|network| network.contains(&address)) {
            break;
        }
        let Ok(next) = name.parse::<IpAddr>() else { break };
        address = next.to_canonical();
    }
    address
}

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().ok_or_else(|| Problem::internal(&"no peer address"))?;
        Ok(ClientAddress(client_address(peer.0.ip(), &parts.headers, &app.config.trusted_proxies)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_proxies_are_believed() {
        let trusted: Vec<IpInet> = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        for (peer, forwarded, expected) in [
            ("127.0.0.1", "1.2.3.4", "127.0.0.1"),
            ("10.1.1.1", "1.2.3.4", "1.2.3.4"),
            ("10.1.1.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("10.1.1.1", "1.2.3.4, 10.2.2.2", "1.2.3.4"),
            ("10.1.1.1", "garbage", "10.1.1.1"),
            ("::1", "2001:db8::1", "2001:db8::1"),
            ("11.0.0.1", "1.2.3.4", "11.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            let got = client_address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(got.to_string(), expected, "{peer} says {forwarded}");
        }
    }

    #[test]
    fn networks_are_read_exactly() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "1.2.3.4", "::/0", "2001:db8::/32"] {
            assert!(good.parse::<IpInet>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "x", "::/129", "1.2.3.4/-1"] {
            assert!(bad.parse::<IpInet>().is_err(), "{bad}");
        }
        assert!("0.0.0.0/0".parse::<IpInet>().unwrap().contains(&"9.9.9.9".parse().unwrap()));
    }

    #[test]
    fn an_ipv6_client_cannot_walk_through_its_own_network() {
        let key = |text: &str| ClientAddress(text.parse().unwrap()).rate_key();
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("1.2.3.4"), key("1.2.3.5"));
    }
}
