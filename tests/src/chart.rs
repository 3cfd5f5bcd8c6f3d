//! The Kubernetes chart, as Helm renders it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::programs;

/// The namespace that the tests install into.
pub const NAMESPACE: &str = "fluvio-cloud";
/// The version of Kubernetes that objects are rendered for and checked against.
pub const KUBERNETES: &str = "1.34.4";

/// The chart's folder.
pub fn folder() -> anyhow::Result<PathBuf> {
    Ok(programs::tree()?.join("deploy/chart"))
}

/// What a person would put into one or more files of values.
pub struct Values {
    /// How the tests call it.
    pub name: &'static str,
    files: Vec<PathBuf>,
}

impl Values {
    /// As Helm takes them.
    pub fn arguments(&self) -> Vec<OsString> {
        self.files.iter().flat_map(|file| ["--values".into(), file.into()]).collect()
    }
}

/// All that the tests render with.
pub fn value_sets() -> anyhow::Result<Vec<Values>> {
    ["least", "fleet", "addresses", "one-node", "region"].into_iter().map(value_set).collect()
}

/// The one of this name.
pub fn value_set(name: &'static str) -> anyhow::Result<Values> {
    let of_test = |name: &str| programs::tests_folder().join(format!("e2e/chart/values/{name}.yaml"));
    let files = match name {
        "one-node" => vec![folder()?.join("values-one-node.yaml"), of_test("addresses")],
        name => vec![of_test(name)],
    };
    Ok(Values { name, files })
}

/// Helm, without anything of the person's who runs the test.
pub fn helm() -> anyhow::Result<Command> {
    let mut helm = Command::new(programs::kubernetes_tool("helm")?);
    helm.env_clear().env("HOME", std::env::temp_dir()).stdin(Stdio::null());
    Ok(helm)
}

/// What `helm template` makes of the chart.
pub struct Rendered {
    /// As Helm printed it.
    pub text: String,
    /// Its objects.
    pub objects: Vec<Value>,
}

impl Rendered {
    /// With a file of values, and more of them as `--set` has it.
    pub fn of(values: &Values, set: &[&str]) -> anyhow::Result<Rendered> {
        let output = run("template", values, set)?;
        if !output.status.success() {
            bail!("helm template with {}: {}", values.name, String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        let mut objects = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            if !object.is_null() {
                objects.push(object);
            }
        }
        Ok(Rendered { text, objects })
    }

    /// The objects of a kind.
    pub fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The one object of this kind and name.
    pub fn one<'a>(&'a self, kind: &'a str, name: &'a str) -> anyhow::Result<&'a Value> {
        let mut found = self.kind(kind).filter(|object| object["metadata"]["name"] == name);
        let first = found.next().with_context(|| format!("there is no {kind} {name}"))?;
        anyhow::ensure!(found.next().is_none(), "there are two of {kind} {name}");
        Ok(first)
    }

    /// Every template of a pod, with the name of what makes pods of it.
    pub fn pods(&self) -> Vec<(String, &Value)> {
        let makers = ["Deployment", "StatefulSet", "DaemonSet", "Job"];
        let templates =
            self.objects.iter().filter(|object| makers.iter().any(|kind| object["kind"] == *kind));
        templates.map(|maker| (name(maker), &maker["spec"]["template"])).collect()
    }
}

/// `kind/name`
pub fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// Runs `helm template` or `helm lint --strict`.
pub fn run(command: &str, values: &Values, set: &[&str]) -> anyhow::Result<Output> {
    let mut helm = helm()?;
    match command {
        "lint" => helm.args(["lint", "--strict"]).arg(folder()?),
        _ => helm.args([command, "cloud"]).arg(folder()?),
    };
    helm.args(["--namespace", NAMESPACE, "--kube-version", KUBERNETES]);
    helm.args(values.arguments());
    for each in set {
        helm.args(["--set", each]);
    }
    helm.output().context("cannot start helm")
}
