//! The chart on a real API server: what its README says is run, and what must be kept is kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::chart::folder;
use e2e::nodeless::Nodeless;
use e2e::programs;
use e2e::wait::until_blocking;
use serde_json::Value;

/// The Secrets that are not Helm's own, by name.
fn secrets(server: &Nodeless) -> anyhow::Result<BTreeMap<String, Value>> {
    let all = server.objects("secrets")?;
    let ours = all.into_iter().filter(|secret| secret["type"] != "helm.sh/release.v1");
    ours.map(|secret| Ok((text(&secret["metadata"]["name"])?, secret["data"].clone()))).collect()
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().context("text")?.to_owned())
}

/// Which pods would be replaced: every change of a template is a new generation.
fn generations(server: &Nodeless) -> anyhow::Result<BTreeMap<String, u64>> {
    let all = server.objects("deployments,statefulsets")?;
    let of = |object: &Value| {
        Ok((
            text(&object["metadata"]["name"])?,
            object["metadata"]["generation"].as_u64().context("a number")?,
        ))
    };
    all.iter().map(of).collect()
}

#[test]
fn an_upgrade_keeps_every_secret_and_replaces_nothing_that_has_not_changed() -> anyhow::Result<()> {
    let server = Nodeless::start("upgrade")?;
    server.install("one-node", &[])?;
    let (before, running) = (secrets(&server)?, generations(&server)?);
    assert_eq!(before.len(), 9, "{:?}", before.keys());
    server.install("one-node", &[])?;
    assert!(secrets(&server)? == before, "a secret has changed");
    assert_eq!(generations(&server)?, running);

    // Another name: the certificate is made again by the same CA. The portal reads it by itself.
    server.install("one-node", &["portal.tls.names={cloud.example.org}"])?;
    let after = secrets(&server)?;
    for (name, data) in &before {
        let same = after[name] == *data;
        assert_eq!(same, name != "portal-tls", "{name}");
    }
    let (old, new) = (&before["portal-tls"], &after["portal-tls"]);
    assert_eq!(old["ca.crt"], new["ca.crt"]);
    assert_eq!(old["ca.key"], new["ca.key"]);
    assert!(names(new)?.contains(&"cloud.example.org".to_owned()));
    check_chain(new)?;
    assert_eq!(generations(&server)?, running);

    // A release that was taken away and installed again finds its database and its sealing key.
    let gone = server.helm()?.args(["uninstall", "fluvio-cloud", "--namespace", "fluvio-cloud"]).output()?;
    ensure!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    let kept = secrets(&server)?;
    let databases =
        ["gateway", "owner", "portal", "provisioner", "signer"].map(|role| format!("database-{role}"));
    let mut expected: Vec<String> = databases.into();
    expected.push("sealing-key".into());
    assert_eq!(kept.keys().cloned().collect::<Vec<_>>(), expected);
    server.install("one-node", &[])?;
    let again = secrets(&server)?;
    for name in expected {
        for key in ["password", "key"] {
            assert_eq!(again[&name][key], before[&name][key], "{name}");
        }
    }
    Ok(())
}

fn certificate(secret: &Value, key: &str) -> anyhow::Result<Vec<u8>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(&STANDARD.decode(text(&secret[key])?)?)?;
    Ok(pem.contents)
}

fn names(secret: &Value) -> anyhow::Result<Vec<String>> {
    let der = certificate(secret, "tls.crt")?;
    let (_, leaf) = x509_parser::parse_x509_certificate(&der)?;
    let names = leaf.subject_alternative_name()?.context("names")?;
    Ok(names
        .value
        .general_names
        .iter()
        .map(ToString::to_string)
        .map(|name| name.trim_start_matches("DNSName(").trim_end_matches(')').to_owned())
        .collect())
}

/// The certificate is one that clients take for a server of that CA.
fn check_chain(secret: &Value) -> anyhow::Result<()> {
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(certificate(secret, "ca.crt")?))?;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build()?;
    let leaf = CertificateDer::from(certificate(secret, "tls.crt")?);
    for name in ["cloud.example.org", "portal.fluvio-cloud.svc", "10.213.1.2"] {
        let name = ServerName::try_from(name.to_owned())?;
        verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now())?;
    }
    Ok(())
}

/// The commands of a page's section, and its first block of YAML.
fn section<'a>(page: &'a str, title: &str) -> anyhow::Result<(Vec<&'a str>, Option<&'a str>)> {
    let start = page.find(&format!("\n## {title}\n")).with_context(|| format!("no section {title}"))?;
    let rest = &page[start + 4..];
    let section = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
    let yaml = section.split("```yaml\n").nth(1).and_then(|block| block.split("```").next());
    Ok((section.lines().filter_map(|line| line.strip_prefix("$ ")).collect(), yaml))
}

/// Runs the commands, but for those that need a node.
fn run(server: &Nodeless, place: &Path, commands: &[&str]) -> anyhow::Result<usize> {
    let tools = [programs::kubernetes_tool("helm")?, programs::kubernetes_tool("kubectl")?];
    let folders: Vec<String> =
        tools.iter().filter_map(|tool| tool.parent()).map(|each| each.display().to_string()).collect();
    let mut done = 0;
    for command in commands {
        if command.contains(" rollout status ") || command.contains(" exec ") {
            continue;
        }
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .current_dir(place)
            .env("PATH", format!("{}:/usr/bin:/bin", folders.join(":")))
            .env("KUBECONFIG", server.kubeconfig())
            .output()?;
        ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        done += 1;
    }
    Ok(done)
}

#[test]
fn the_readme_s_commands_install_upgrade_and_remove_everything() -> anyhow::Result<()> {
    let server = Nodeless::start("readme")?;
    server.kubectl(&["delete", "namespace", "fluvio-cloud"])?;
    let place = tempfile::tempdir()?;
    std::os::unix::fs::symlink(programs::tree()?.join("deploy"), place.path().join("deploy"))?;
    let page = std::fs::read_to_string(folder()?.join("README.md"))?;

    let (commands, values) = section(&page, "Install")?;
    std::fs::write(place.path().join("cloud.yaml"), values.context("cloud.yaml is shown")?)?;
    assert_eq!(run(&server, place.path(), &commands)?, 5);
    assert_eq!(std::fs::read(place.path().join("sealing-key"))?.len(), 32);
    assert!(std::fs::read_to_string(place.path().join("ca.crt"))?.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(server.objects("deployments,statefulsets")?.len(), 5);

    let before = secrets(&server)?;
    let (commands, _) = section(&page, "Upgrade")?;
    assert_eq!(run(&server, place.path(), &commands)?, 4);
    for (name, data) in secrets(&server)? {
        assert_eq!(data == before[&name], name != "database-gateway", "{name}");
    }

    let (commands, _) = section(&page, "Uninstall")?;
    assert_eq!(run(&server, place.path(), &commands)?, 3);
    let left = server.kubectl(&[
        "get",
        "namespaces,clusterroles,clusterrolebindings,priorityclasses,validatingadmissionpolicies,\
         validatingadmissionpolicybindings,persistentvolumes",
        "--output=name",
    ])?;
    // With a colon: what the node of the tests has for itself.
    let left: Vec<&str> =
        left.lines().filter(|name| name.contains("fluvio") && !name.contains(':')).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn the_readme_s_commands_add_another_region() -> anyhow::Result<()> {
    let (home, far) = (Nodeless::start("home")?, Nodeless::start("far")?);
    far.kubectl(&["delete", "namespace", "fluvio-cloud"])?;
    home.install("fleet", &[])?;
    let place = tempfile::tempdir()?;
    std::os::unix::fs::symlink(programs::tree()?.join("deploy"), place.path().join("deploy"))?;
    std::os::unix::fs::symlink(home.kubeconfig(), place.path().join("home.kubeconfig"))?;
    std::os::unix::fs::symlink(far.kubeconfig(), place.path().join("far.kubeconfig"))?;
    let page = std::fs::read_to_string(folder()?.join("README.md"))?;
    let (commands, values) = section(&page, "Another region")?;
    std::fs::write(place.path().join("region.yaml"), values.context("region.yaml is shown")?)?;
    assert_eq!(run(&far, place.path(), &commands)?, 5);
    let (at_home, there) = (secrets(&home)?, secrets(&far)?);
    assert_eq!(there.keys().collect::<Vec<_>>(), ["database-gateway", "database-provisioner"]);
    for (name, data) in &there {
        assert_eq!(data, &at_home[name], "{name}");
    }
    let mut running: Vec<String> = generations(&far)?.into_keys().collect();
    running.sort();
    assert_eq!(running, ["gateway", "provisioner"]);
    Ok(())
}

#[test]
fn nothing_that_pod_security_forbids_gets_into_the_chart_s_namespace() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let pods = until_blocking("every pod is admitted", Duration::from_secs(60), || {
        server.objects("pods").ok().filter(|pods| pods.len() >= 7)
    });
    let events = server.kubectl(&["get", "events", "--namespace", "fluvio-cloud", "--output=json"])?;
    assert!(!events.contains("violates PodSecurity"), "a pod of the chart was refused: {events}");
    pods?;
    Ok(())
}
