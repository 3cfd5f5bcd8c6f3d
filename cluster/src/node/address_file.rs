//! Tells whoever started the process which TCP ports it got.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// The addresses that a server bound; what is no TCP socket or was not asked for is left out.
#[derive(Debug, Default, Serialize)]
pub struct Bound {
    /// For clients.
    pub public: Vec<SocketAddr>,
    /// For SPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<SocketAddr>,
    /// For the provisioner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<SocketAddr>,
    /// For probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<SocketAddr>,
}

/// Writes the addresses as `{"public":["127.0.0.1:41234"]}`: whole or not at all, since somebody waits for it.
pub fn write(path: &Path, bound: &Bound) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    serde_json::to_string(bound)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(&beside, text))
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("cannot write the address file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_bound_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sc.json");
        let mut bound = Bound { public: vec!["127.0.0.1:41234".parse().unwrap()], ..Bound::default() };
        write(&path, &bound).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"public":["127.0.0.1:41234"]}"#);
        bound.link = Some("[::1]:9010".parse().unwrap());
        write(&path, &bound).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, r#"{"public":["127.0.0.1:41234"],"link":"[::1]:9010"}"#);
    }
}
