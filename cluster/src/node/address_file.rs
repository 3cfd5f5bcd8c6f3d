//! Tells whoever started the process which TCP ports it got.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;

/// Writes the addresses as `{"public":["127.0.0.1:41234"]}`: whole or not at all, since somebody waits for it.
pub fn write(path: &Path, public: &[SocketAddr]) -> anyhow::Result<()> {
    let addresses: Vec<String> = public.iter().map(ToString::to_string).collect();
    let text = serde_json::json!({ "public": addresses }).to_string();
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)
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
        write(&path, &["127.0.0.1:41234".parse().unwrap()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"public":["127.0.0.1:41234"]}"#);
    }
}
