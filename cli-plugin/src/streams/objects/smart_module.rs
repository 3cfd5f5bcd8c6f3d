//! `fluvio smartmodule …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fluvio::FluvioAdmin;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::smartmodule::{SmartModuleMetadata, SmartModuleSpec, SmartModuleWasm};
use serde::Serialize;

use super::{Delete, List, read};
use crate::failure::{Failure, OrFail, Outcome};
use crate::output::{self, Form, Table, progress};
use crate::places::Places;
use crate::streams::target::{Target, answer};

/// How WebAssembly begins.
const WASM: &[u8] = b"\0asm";

/// Keep, list and delete SmartModules
#[derive(Debug, Subcommand)]
pub enum SmartModuleCommand {
    /// Keep a SmartModule on the cluster; one of the same name is replaced
    Create(Create),
    /// List the SmartModules
    List(List),
    /// Delete SmartModules
    Delete(Delete),
}

/// Options of `smartmodule create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The name of the SmartModule; with a package it is the package's
    name: String,
    /// The WebAssembly
    #[arg(long, value_name = "FILE")]
    wasm_file: PathBuf,
    /// What describes it: its SmartModule.toml
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
}

/// One SmartModule in the list.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    package: Option<String>,
    bytes: u32,
}

impl From<&Metadata<SmartModuleSpec>> for Row {
    fn from(module: &Metadata<SmartModuleSpec>) -> Self {
        Self {
            name: module.name.clone(),
            package: module.spec.meta.as_ref().map(|meta| meta.package.fqdn()),
            bytes: module.spec.summary.as_ref().map_or(0, |summary| summary.wasm_length),
        }
    }
}

impl SmartModuleCommand {
    /// Runs the command.
    pub async fn run(&self, target: &Target, places: &Places) -> Outcome {
        match self {
            Self::Create(command) => {
                // Before the cluster is asked for anything.
                let spec = command.spec()?;
                command.run(&target.admin(places).await?, spec).await
            }
            Self::List(command) => list(&target.admin(places).await?, command.output).await,
            Self::Delete(command) => {
                let admin = target.admin(places).await?;
                let delete = async |name: String| admin.delete::<SmartModuleSpec>(name).await;
                command.run("smartmodule", "fluvio smartmodule list", delete).await
            }
        }
    }
}

impl Create {
    async fn run(&self, admin: &FluvioAdmin, spec: SmartModuleSpec) -> Outcome {
        let name = spec.meta.as_ref().map_or_else(|| self.name.clone(), SmartModuleMetadata::store_id);
        let doing = format!("smartmodule {name} was not created");
        answer(&doing, admin.create(self.name.clone(), false, spec)).await?;
        output::line(&format!("smartmodule \"{name}\" created"))?;
        Ok(0)
    }

    fn spec(&self) -> Result<SmartModuleSpec, Failure> {
        let code = read(&self.wasm_file)?;
        if !code.starts_with(WASM) {
            let what = format!("{} is not WebAssembly", self.wasm_file.display());
            return Err(Failure::usage(what)
                .with_fix("cargo build --target wasm32-unknown-unknown makes such a file"));
        }
        let meta = self.package.as_ref().map(|path| {
            described(&read(path)?).or_fail(&format!("{} does not describe a SmartModule", path.display()))
        });
        let wasm = SmartModuleWasm::from_raw_wasm_bytes(&code).or_fail("the code cannot be compressed")?;
        Ok(SmartModuleSpec { meta: meta.transpose()?, summary: None, wasm })
    }
}

/// What a SmartModule.toml says. The published crate wants a list of parameters, and files of packages without any leave
/// it out or have an empty table.
fn described(file: &[u8]) -> anyhow::Result<SmartModuleMetadata> {
    let mut described: toml::Table = toml::from_str(std::str::from_utf8(file)?)?;
    let params = described.get("params");
    if params.is_none_or(|params| params.as_table().is_some_and(toml::Table::is_empty)) {
        described.insert("params".to_owned(), toml::Value::Array(Vec::new()));
    }
    Ok(described.try_into()?)
}

async fn list(admin: &FluvioAdmin, form: Form) -> Outcome {
    let asked = admin.list_with_params::<SmartModuleSpec, String>(Vec::new(), true);
    let modules = answer("the SmartModules cannot be listed", asked).await?;
    let rows: Vec<Row> = modules.iter().map(Row::from).collect();
    output::show(form, rows.as_slice(), table)?;
    if rows.is_empty() && form == Form::Table {
        progress::note("there is no SmartModule yet\nnext: fluvio smartmodule create NAME --wasm-file FILE");
    }
    Ok(0)
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["NAME", "PACKAGE", "SIZE"]);
    for row in rows {
        let package = row.package.clone().unwrap_or_default();
        table.row([row.name.clone(), package, output::bytes(row.bytes.into())]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str =
        "[package]\nname = 'map'\ngroup = 'acme'\nversion = '0.2.0'\napiVersion = '0.1.0'\n";

    fn create(code: &[u8], package: Option<&str>) -> Result<SmartModuleSpec, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let wasm_file = dir.path().join("code.wasm");
        std::fs::write(&wasm_file, code).unwrap();
        let package = package.map(|text| {
            let path = dir.path().join("SmartModule.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        Create { name: "m".to_owned(), wasm_file, package }.spec()
    }

    #[test]
    fn the_files_become_the_smart_module_that_was_meant() {
        let plain = create(b"\0asm code", None).unwrap();
        assert_eq!((plain.wasm.as_raw_wasm().unwrap().as_slice(), plain.meta), (&b"\0asm code"[..], None));
        for params in ["", "[params]\n", "[[params]]\nname = 'factor'\ndescription = 'by which'\n"] {
            let packaged = create(b"\0asm code", Some(&format!("{PACKAGE}{params}"))).unwrap();
            assert_eq!(packaged.meta.unwrap().package.fqdn(), "acme/map@0.2.0");
        }
    }

    #[test]
    fn what_is_no_smart_module_is_not_sent() {
        assert_eq!(create(b"fn main() {}", None).unwrap_err().exit_code(), 2);
        assert!(create(b"\0asm code", Some("[package]\nname = 'map'")).is_err());
    }
}
