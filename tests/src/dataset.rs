//! A real public data set for the demo: 231,083 flights in the United States, from the npm package
//! `vega-datasets` (BSD-3-Clause; the figures themselves are of the US Bureau of Transportation Statistics).

use std::process::Command;

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::programs;

/// Of the file as the package ships it.
const CHECKSUM: &str = "d03c0a44048361d8ca452c404911c506247b65a5f3e7371369bd0f717c23ce04";

/// Every record's own bytes, in the file's order.
pub fn flights() -> anyhow::Result<Vec<Bytes>> {
    let folder = programs::cache("dataset")?;
    let file = folder.join("node_modules/vega-datasets/data/flights-200k.json");
    if !file.exists() {
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(programs::tests_folder().join("dataset").join(name), folder.join(name))?;
        }
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .output()
            .context("npm is not installed\nfix: apt-get install -y nodejs npm")?;
        ensure!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read(&file)?;
    let found = hex::encode(Sha256::digest(&text));
    ensure!(
        found == CHECKSUM,
        "{} is not the file it should be\nfix: remove {}",
        file.display(),
        folder.display()
    );
    let records: Vec<&RawValue> = serde_json::from_slice(&text)?;
    Ok(records.into_iter().map(|record| Bytes::copy_from_slice(record.get().as_bytes())).collect())
}
