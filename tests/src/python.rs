//! The published Python wheel, in a virtual environment that is made once from pinned, hashed requirements.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::programs;

/// The interpreter of the environment; the first call installs it.
pub fn interpreter() -> anyhow::Result<PathBuf> {
    let folder = programs::cache("python")?;
    let requirements = programs::tests_folder().join("python/requirements.txt");
    let wanted = std::fs::read(&requirements)?;
    // Tests in other processes may want it at the same time.
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    let environment = folder.join("venv");
    let interpreter = environment.join("bin/python");
    let stamp = folder.join("installed.txt");
    if interpreter.exists() && std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(&interpreter)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
        ])
        .arg("--require-hashes")
        .arg("-r")
        .arg(&requirements))?;
    std::fs::write(&stamp, wanted)?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
