//! Older releases of the published client, compiled once from their lockfile.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::programs;

/// The releases, oldest first: they speak other versions of the protocol, with another TLS library.
pub const RELEASES: [&str; 2] = ["0.23.4", "0.28.0"];

/// The program that does with each release what a person would; the first call compiles it.
pub fn clients() -> anyhow::Result<PathBuf> {
    let target = programs::cache("older")?;
    let output = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(programs::tests_folder().join("older/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(target.join("debug/older-clients"))
}
