use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::programs;

/// What a copy of the engine is made of: a workspace of its own.
const MEMBERS: [&str; 3] = ["cluster", "cluster/settings", "cluster/storage"];

/// A known bug as a patch: what it breaks, and the tests that find it.
struct Planted {
    patch: PathBuf,
    package: String,
    filters: Vec<String>,
}

/// All of them, by package and name.
fn planted() -> anyhow::Result<Vec<Planted>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(programs::tests_folder().join("planted"))? {
        let patch = entry?.path();
        let text = std::fs::read_to_string(&patch)?;
        let found_by = text.lines().find_map(|line| line.strip_prefix("Found by: "));
        let mut words =
            found_by.with_context(|| format!("{} says what finds it", patch.display()))?.split(' ');
        let package = words.next().context("a package")?.to_owned();
        all.push(Planted { patch, package, filters: words.map(str::to_owned).collect() });
    }
    all.sort_by(|one, other| (&one.package, &one.patch).cmp(&(&other.package, &other.patch)));
    Ok(all)
}

/// A copy of the engine at a place that stays, so that what is compiled for it can be used again.
fn copy() -> anyhow::Result<PathBuf> {
    let (tree, to) = (programs::tree()?, programs::cache("planted")?.join("tree"));
    if to.exists() {
        std::fs::remove_dir_all(&to)?;
    }
    std::fs::create_dir_all(&to)?;
    for name in ["cluster", "Cargo.lock", "clippy.toml"] {
        let status = Command::new("cp").arg("-rp").arg(tree.join(name)).arg(to.join(name)).status()?;
        ensure!(status.success(), "cannot copy {name}");
    }
    let mut manifest: toml::Table = std::fs::read_to_string(tree.join("Cargo.toml"))?.parse()?;
    let workspace =
        manifest.get_mut("workspace").and_then(toml::Value::as_table_mut).context("a workspace")?;
    workspace.insert("members".into(), MEMBERS.map(toml::Value::from).to_vec().into());
    // Nobody looks at these programs with a debugger.
    manifest.insert("profile".into(), toml::from_str("dev = { debug = false }")?);
    std::fs::write(to.join("Cargo.toml"), manifest.to_string())?;
    Ok(to)
}

/// Whether these tests of the engine pass in this copy, and what they said.
fn passes(folder: &Path, package: &str, filters: &[String]) -> anyhow::Result<(bool, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--package", package, "--lib", "--"])
        .args(filters)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", programs::cache("planted")?.join("target"))
        .env_remove("RUSTFLAGS")
        // Nobody lints a planted bug.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()?;
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.success(), said))
}

fn patch(folder: &Path, patch: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("patch")
        .args(["--strip=1", "--fuzz=2", "--silent", "--no-backup-if-mismatch", "--input"])
        .arg(patch)
        .args(arguments)
        .current_dir(folder)
        .status()?;
    ensure!(status.success(), "{} does not fit the sources any more: plant the bug anew", patch.display());
    Ok(())
}

#[test]
fn every_planted_bug_is_found() -> anyhow::Result<()> {
    let _turn = Cloud::turn_blocking();
    let (folder, all) = (copy()?, planted()?);
    assert!(all.len() >= 12, "{} bugs are planted", all.len());
    let mut sound = std::collections::BTreeSet::new();
    let mut unnoticed = Vec::new();
    for bug in &all {
        let name = bug.patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if sound.insert((&bug.package, &bug.filters)) {
            let (passes, said) = passes(&folder, &bug.package, &bug.filters)?;
            ensure!(passes, "the copy does not pass as it is:\n{said}");
            ensure!(
                said.contains("test result: ok") && !said.contains("ok. 0 passed"),
                "no test ran:\n{said}"
            );
        }
        patch(&folder, &bug.patch, &[])?;
        let (passes, said) = passes(&folder, &bug.package, &bug.filters)?;
        patch(&folder, &bug.patch, &["--reverse"])?;
        let failed = said.lines().filter(|line| line.ends_with("... FAILED")).count();
        println!("{name}: {failed} tests fail");
        ensure!(passes || said.contains("test result: FAILED"), "{name} failed for another reason:\n{said}");
        if passes {
            unnoticed.push(name);
        }
    }
    assert!(unnoticed.is_empty(), "went unnoticed: {unnoticed:?}");
    println!("{} of {} planted bugs were found", all.len(), all.len());
    Ok(())
}
