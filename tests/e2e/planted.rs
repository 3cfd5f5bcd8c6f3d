use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::programs;

/// A copy of the storage engine as a workspace of its own.
fn copy(to: &Path) -> anyhow::Result<()> {
    let tree = programs::tree()?;
    std::fs::create_dir_all(to.join("cluster"))?;
    for name in ["cluster/storage", "Cargo.lock", "clippy.toml"] {
        let status = Command::new("cp").arg("-r").arg(tree.join(name)).arg(to.join(name)).status()?;
        ensure!(status.success(), "cannot copy {name}");
    }
    let mut manifest: toml::Table = std::fs::read_to_string(tree.join("Cargo.toml"))?.parse()?;
    let workspace =
        manifest.get_mut("workspace").and_then(toml::Value::as_table_mut).context("a workspace")?;
    workspace.insert("members".to_string(), vec!["cluster/storage".to_string()].into());
    manifest.remove("profile");
    std::fs::write(to.join("Cargo.toml"), manifest.to_string())?;
    Ok(())
}

/// Whether the engine's own tests pass in this copy, and what they said.
fn passes(folder: &Path) -> anyhow::Result<(bool, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "test",
            "--offline",
            "--package",
            "cluster-storage",
            "--lib",
            "--",
            "acknowledge",
            "power_cut",
        ])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", programs::cache("planted")?)
        .env_remove("RUSTFLAGS")
        .output()?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said))
}

#[test]
fn acknowledging_before_the_sync_is_caught() -> anyhow::Result<()> {
    let _turn = Cloud::turn_blocking();
    let folder = tempfile::tempdir()?;
    copy(folder.path())?;
    let (sound, said) = passes(folder.path())?;
    assert!(sound, "the copy does not pass as it is:\n{said}");
    assert!(said.contains("test result: ok") && !said.contains("0 passed"), "no test ran:\n{said}");

    let patch = programs::tests_folder().join("planted/acknowledge-before-sync.patch");
    let status = Command::new("patch")
        .args(["--strip=1", "--fuzz=2", "--silent", "--input"])
        .arg(&patch)
        .current_dir(folder.path())
        .status()?;
    assert!(status.success(), "{} does not fit the sources any more: plant the bug anew", patch.display());
    let (sound, said) = passes(folder.path())?;
    assert!(!sound, "acknowledging before the sync went unnoticed");
    assert!(said.contains("test result: FAILED"), "it failed for another reason:\n{said}");
    Ok(())
}
