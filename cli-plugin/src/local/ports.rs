//! Whether somebody listens on a port of this machine.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use rand::RngExt;

use crate::failure::Failure;

/// Where a port is looked for when any will do: below those that Linux gives to outgoing connections (ip(7),
/// `ip_local_port_range`), one of which could hold a kept port just when the cluster starts again.
const ANY: std::ops::Range<u16> = 20_000..32_000;

/// Whether nobody listens there on loopback. `localhost` may mean either family's, so both are looked at; a machine
/// without IPv6 has nobody there.
pub fn is_free(port: u16) -> bool {
    let taken = |address: IpAddr| {
        TcpListener::bind((address, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    };
    !taken(Ipv4Addr::LOCALHOST.into()) && !taken(Ipv6Addr::LOCALHOST.into())
}

/// The port that is asked for, where 0 asks for any that is free.
pub fn asked(port: u16) -> Result<u16, Failure> {
    if port != 0 {
        return Ok(port);
    }
    let mut random = rand::rng();
    let mut ports = std::iter::repeat_with(|| random.random_range(ANY)).take(1000);
    ports.find(|port| is_free(*port)).ok_or_else(|| {
        Failure::failed("no free port was found").with_fix("name one: fluvio cluster start --port P")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_while_somebody_listens_on_either_family() {
        for loopback in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            // A machine without IPv6 has one family only.
            let Ok(listener) = TcpListener::bind((loopback, 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert!(!is_free(port), "{loopback}");
        }
        assert!(is_free(asked(0).unwrap()));
        assert_eq!(asked(9003).unwrap(), 9003);
    }
}
