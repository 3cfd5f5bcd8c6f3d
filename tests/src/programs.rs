//! Where the built programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The folder with the built programs: `FLUVIO_CLOUD_BIN`, else the folder of the running test binary.
pub fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FLUVIO_CLOUD_BIN") {
        return Ok(PathBuf::from(folder));
    }
    let mut folder = std::env::current_exe()?;
    folder.pop();
    // Test binaries are one folder deeper than the programs.
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder)
}

/// One built program.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder()?.join(name);
    if !path.exists() {
        bail!(
            "{} is not built\nfix: cargo build --workspace, or name its folder in FLUVIO_CLOUD_BIN",
            path.display()
        );
    }
    Ok(path)
}

/// The folder of the tests in the source tree.
pub fn tests_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The root of the source tree.
pub fn tree() -> anyhow::Result<&'static Path> {
    tests_folder().parent().context("the tests are a folder of the tree")
}

/// A tool for Kubernetes, built from Go modules the first time and kept outside the tree.
pub fn kubernetes_tool(name: &str) -> anyhow::Result<PathBuf> {
    let set = if name == "kubectl" { "kubernetes" } else { name };
    let output = Command::new(tree()?.join("deploy/kubernetes/tools/build")).arg(set).output()?;
    if !output.status.success() {
        bail!("{name} was not built: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(Path::new(String::from_utf8(output.stdout)?.trim()).join(name))
}

/// A folder for what a run leaves behind to be looked at.
pub fn output(name: &str) -> anyhow::Result<PathBuf> {
    let path = tests_folder().join("output").join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// A folder for what is fetched once and kept between runs.
pub fn cache(name: &str) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| tree().map(|tree| tree.join("target")), |dir| Ok(dir.into()))?;
    let path = target.join("e2e").join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
