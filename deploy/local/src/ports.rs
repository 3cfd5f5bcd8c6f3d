//! The two ports of the cloud: as asked, or picked once and kept, so that profiles stay good.

use std::net::TcpListener;

use anyhow::Context;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::state::State;

/// Ports on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The portal's.
    pub portal: u16,
    /// The gateway's.
    pub gateway: u16,
}

const FILE: &str = "ports.json";

/// Where free ports are looked for: below those that Linux gives to outgoing connections (ip(7),
/// `ip_local_port_range`), one of which could hold a kept port just when the cloud starts again.
const PICKED_FROM: std::ops::Range<u16> = 20_000..32_000;

/// Settles the ports: a given one as it is, 0 as the one kept from the first start, else a free one.
pub fn settle(state: &State, portal: u16, gateway: u16) -> anyhow::Result<Ports> {
    let kept: Option<Ports> = state.read(FILE)?.and_then(|text| serde_json::from_str(&text).ok());
    let pick = |asked: u16, kept: Option<u16>, other: u16| match (asked, kept) {
        (0, Some(kept)) => Ok(kept),
        (0, None) => free_port(other),
        (asked, _) => Ok(asked),
    };
    let portal = pick(portal, kept.map(|ports| ports.portal), gateway)?;
    let gateway = pick(gateway, kept.map(|ports| ports.gateway), portal)?;
    let ports = Ports { portal, gateway };
    for (port, whose, option) in
        [(ports.portal, "portal", "--portal-port"), (ports.gateway, "gateway", "--gateway-port")]
    {
        TcpListener::bind(("127.0.0.1", port)).with_context(|| {
            format!("port {port} of the {whose} is taken\nfix: free it, or choose another with {option}")
        })?;
    }
    state.write(FILE, &serde_json::to_vec(&ports)?, None)?;
    Ok(ports)
}

/// A port that nobody listens on, and not the `other` one.
fn free_port(other: u16) -> anyhow::Result<u16> {
    let is_free = |port: &u16| *port != other && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut random = rand::rng();
    std::iter::repeat_with(|| random.random_range(PICKED_FROM))
        .take(1000)
        .find(is_free)
        .context("no free port was found\nfix: name ports with --portal-port and --gateway-port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picked_ports_are_found_again_and_a_given_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let first = settle(&state, 0, 0).unwrap();
        assert_ne!(first.portal, first.gateway);
        assert_eq!(settle(&state, 0, 0).unwrap(), first);
        let given = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(settle(&state, given, 0).unwrap(), Ports { portal: given, gateway: first.gateway });
    }

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = settle(&state, taken.local_addr().unwrap().port(), 0).unwrap_err().to_string();
        assert!(error.contains("--portal-port"), "{error}");
    }
}
