//! What Helm's linter and Kubernetes' own schemas say about the chart.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::Context;
use e2e::chart::{KUBERNETES, Rendered, run, value_set, value_sets};
use e2e::programs;

#[test]
fn helm_finds_nothing_to_say() -> anyhow::Result<()> {
    for values in value_sets()? {
        let output = run("lint", &values, &[])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {said}", values.name);
        for word in ["[WARNING]", "[ERROR]"] {
            assert!(!said.contains(word), "{}: {said}", values.name);
        }
    }
    Ok(())
}

/// What kubeconform says about `text`, or nothing.
fn faults(text: &str) -> anyhow::Result<Option<String>> {
    let schemas = e2e::schemas::folder()?;
    let mut checker = Command::new(programs::kubernetes_tool("kubeconform")?)
        .args(["-strict", "-summary", "-kubernetes-version", KUBERNETES, "-schema-location"])
        .arg(format!("{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display()))
        .arg("-")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start kubeconform")?;
    checker.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    let output = checker.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((!output.status.success() || said.contains("Skipped: 1")).then_some(said))
}

#[test]
fn every_object_is_one_that_kubernetes_knows() -> anyhow::Result<()> {
    for values in value_sets()? {
        let rendered = Rendered::of(&values, &[])?;
        let found = faults(&rendered.text)?;
        assert!(found.is_none(), "{}: {}", values.name, found.unwrap_or_default());
    }
    Ok(())
}

#[test]
fn a_misspelt_key_and_an_unknown_kind_are_seen() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("least")?, &[])?;
    for (right, wrong) in [
        ("readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("kind: NetworkPolicy", "kind: NetworkPolice"),
        ("maxUnavailable: 1", "maxUnavailable: [1]"),
    ] {
        assert!(rendered.text.contains(right), "{right}");
        assert!(faults(&rendered.text.replace(right, wrong))?.is_some(), "{wrong} is not seen");
    }
    Ok(())
}
