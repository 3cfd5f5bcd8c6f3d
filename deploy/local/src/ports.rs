//! The two ports of the cloud: as asked, or picked once and kept, so that profiles stay good.

use std::net::TcpListener;

use anyhow::Context;
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

/// Settles the ports: a given one as it is, 0 as the one kept from the first start, else a free one.
pub fn settle(state: &State, portal: u16, gateway: u16) -> anyhow::Result<Ports> {
    let kept: Option<Ports> = state.read(FILE)?.and_then(|text| serde_json::from_str(&text).ok());
    // Both listeners live until both ports are known, so that they differ.
    let free = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let pick = |asked: u16, kept: Option<u16>, free: &TcpListener| -> anyhow::Result<u16> {
        match (asked, kept) {
            (0, Some(kept)) => Ok(kept),
            (0, None) => Ok(free.local_addr()?.port()),
            (asked, _) => Ok(asked),
        }
    };
    let ports = Ports {
        portal: pick(portal, kept.map(|ports| ports.portal), &free[0])?,
        gateway: pick(gateway, kept.map(|ports| ports.gateway), &free[1])?,
    };
    drop(free);
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
