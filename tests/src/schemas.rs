//! Kubernetes' own schemas in the form that kubeconform takes: from the OpenAPI document in Kubernetes' Go
//! module, which is the one that the API server of the tests is built from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chart::KUBERNETES;
use crate::programs;

/// The folder with a file per kind, made the first time.
pub fn folder() -> anyhow::Result<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(|| make().map_err(|error| format!("{error:#}"))) {
        Ok(folder) => Ok(folder),
        Err(error) => bail!("the schemas of Kubernetes: {error}"),
    }
}

fn make() -> anyhow::Result<PathBuf> {
    // Of this version of the schemas, and of what is done to them here.
    let how = hex::encode(&Sha256::digest(include_str!("schemas.rs"))[..4]);
    let whole = programs::cache("schemas")?.join(format!("{KUBERNETES}-{how}"));
    if whole.exists() {
        return Ok(whole);
    }
    let fresh = tempfile::tempdir_in(programs::cache("schemas")?)?;
    let document = std::fs::read(module()?.join("api/openapi-spec/swagger.json"))?;
    for (name, schema) in files(&serde_json::from_slice(&document)?)? {
        std::fs::write(fresh.path().join(name), serde_json::to_vec(&schema)?)?;
    }
    // Another test program may have been faster, with the same content.
    if std::fs::rename(fresh.path(), &whole).is_ok() {
        let _ = fresh.keep();
    }
    Ok(whole)
}

/// Where Go keeps the module that the tests' Kubernetes is built from.
fn module() -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Version}} {{.Dir}}", "k8s.io/kubernetes"])
        .current_dir(programs::tree()?.join("deploy/kubernetes/tools/kubernetes"))
        .output()
        .context("cannot start go")?;
    let text = String::from_utf8(output.stdout)?;
    let (version, folder) =
        text.trim().split_once(' ').context("Kubernetes' Go module is not on this machine")?;
    anyhow::ensure!(
        version == format!("v{KUBERNETES}"),
        "the module is of {version}, the tests of {KUBERNETES}"
    );
    Ok(folder.into())
}

/// All definitions in one file, and one small file per kind that points into it.
fn files(document: &Value) -> anyhow::Result<Vec<(String, Value)>> {
    let mut definitions = document["definitions"].as_object().context("definitions")?.clone();
    let mut files = Vec::new();
    for (name, definition) in &definitions {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let word = |key: &str| kind[key].as_str().unwrap_or_default().to_lowercase();
            let group = word("group");
            let group = group.split('.').next().filter(|group| !group.is_empty());
            let file: Vec<String> = [Some(word("kind")), group.map(str::to_owned), Some(word("version"))]
                .into_iter()
                .flatten()
                .collect();
            files.push((
                format!("{}.json", file.join("-")),
                json!({"allOf": [
                    {"$ref": format!("definitions.json#/definitions/{name}")},
                    {"required": ["apiVersion", "kind", "metadata"]},
                ]}),
            ));
        }
    }
    definitions.iter_mut().for_each(|(name, definition)| tighten(name, definition));
    files.push(("definitions.json".into(), json!({"definitions": definitions})));
    Ok(files)
}

/// OpenAPI leaves unknown keys open, and calls what may be a number a string.
fn tighten(name: &str, definition: &mut Value) {
    let Some(object) = definition.as_object_mut() else { return };
    if name.ends_with("util.intstr.IntOrString") || name.ends_with("api.resource.Quantity") {
        object.remove("type");
        object.remove("format");
        object.insert("type".into(), json!(["string", "number"]));
    }
    if object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".into(), json!(false));
    }
}
