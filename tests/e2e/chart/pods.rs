//! What holds for every pod of the control plane, whatever the values.

use anyhow::Context;
use e2e::chart::{Rendered, name, value_sets};
use serde_json::{Value, json};

fn containers(pod: &Value) -> Vec<&Value> {
    let of = |key: &str| pod["spec"][key].as_array().into_iter().flatten().collect::<Vec<_>>();
    [of("initContainers"), of("containers")].concat()
}

/// Faults of one pod against the list that every pod is held to.
fn faults(maker: &str, pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut wrong = Vec::new();
    let mut expect = |what: &str, found: &Value, expected: Value| {
        if *found != expected {
            wrong.push(format!("{what} is {found}"));
        }
    };
    expect("runAsNonRoot", &spec["securityContext"]["runAsNonRoot"], json!(true));
    expect("runAsUser", &spec["securityContext"]["runAsUser"], json!(65532));
    expect("runAsGroup", &spec["securityContext"]["runAsGroup"], json!(65532));
    expect("seccompProfile", &spec["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}));
    expect("enableServiceLinks", &spec["enableServiceLinks"], json!(false));
    expect("priorityClassName", &spec["priorityClassName"], json!("fluvio-cloud"));
    let token = maker == "Deployment/provisioner";
    expect("automountServiceAccountToken", &spec["automountServiceAccountToken"], json!(token));
    for absent in ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "nodeName"] {
        expect(absent, &spec[absent], Value::Null);
    }
    for container in containers(pod) {
        let security = &container["securityContext"];
        expect("allowPrivilegeEscalation", &security["allowPrivilegeEscalation"], json!(false));
        expect("privileged", &security["privileged"], json!(false));
        expect("readOnlyRootFilesystem", &security["readOnlyRootFilesystem"], json!(true));
        expect("container's runAsNonRoot", &security["runAsNonRoot"], json!(true));
        expect("capabilities", &security["capabilities"], json!({"drop": ["ALL"]}));
        // A secret in the environment is read by everyone who may look at the process or the pod.
        expect("env", &container["env"], Value::Null);
        expect("envFrom", &container["envFrom"], Value::Null);
        for amount in ["cpu", "memory", "ephemeral-storage"] {
            for kind in ["requests", "limits"] {
                if !container["resources"][kind][amount].is_string() {
                    expect(
                        &format!("{kind} of {amount}"),
                        &container["resources"][kind][amount],
                        json!("set"),
                    );
                }
            }
        }
        for port in container["ports"].as_array().into_iter().flatten() {
            expect("hostPort", &port["hostPort"], Value::Null);
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let keys: Vec<&str> = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let kind = keys.iter().find(|key| **key != "name").copied().unwrap_or("nothing");
        if !["configMap", "secret", "projected", "emptyDir"].contains(&kind) {
            wrong.push(format!("volume of kind {kind}"));
        }
        let mode = &volume[kind]["defaultMode"];
        match kind {
            "secret" | "projected" if *mode != json!(0o440) => wrong.push(format!("secret of mode {mode}")),
            "emptyDir" if volume["emptyDir"]["sizeLimit"].is_null() => {
                wrong.push("a folder without bound".into())
            }
            _ => {}
        }
    }
    wrong.into_iter().map(|fault| format!("{maker}: {fault}")).collect()
}

#[test]
fn every_pod_is_unprivileged_bounded_and_without_secrets_in_its_environment() -> anyhow::Result<()> {
    for values in value_sets()? {
        let rendered = Rendered::of(&values, &[])?;
        let pods = rendered.pods();
        let least = if values.name == "region" { 2 } else { 4 };
        assert!(pods.len() >= least, "{}: {} pods", values.name, pods.len());
        let faults: Vec<String> = pods.iter().flat_map(|(maker, pod)| faults(maker, pod)).collect();
        assert!(faults.is_empty(), "{}:\n{}", values.name, faults.join("\n"));
    }
    Ok(())
}

#[test]
fn the_list_that_pods_are_held_to_sees_what_is_wrong() -> anyhow::Result<()> {
    let rendered = Rendered::of(&e2e::chart::value_set("least")?, &[])?;
    let pods = rendered.pods();
    let (maker, pod) = pods.iter().find(|(maker, _)| maker == "Deployment/portal").context("a portal")?;
    let container = "/spec/containers/0";
    for (place, key, value) in [
        ("/spec", "hostNetwork", json!(true)),
        ("/spec", "automountServiceAccountToken", json!(true)),
        ("/spec/securityContext", "runAsUser", json!(0)),
        (container, "env", json!([{"name": "PASSWORD", "value": "x"}])),
        (container, "securityContext", json!({})),
        (&format!("{container}/resources"), "limits", json!({"cpu": "1"})),
        (&format!("{container}/ports/0"), "hostPort", json!(443)),
        ("/spec/volumes/0", "hostPath", json!({"path": "/"})),
    ] {
        let mut pod = (*pod).clone();
        pod.pointer_mut(place).context("the place is there")?[key] = value;
        if key == "hostPath" {
            let volume = pod.pointer_mut(place).and_then(Value::as_object_mut).context("a volume")?;
            volume.retain(|each, _| each == "name" || each == "hostPath");
        }
        assert!(!faults(maker, &pod).is_empty(), "{place} {key} is not seen");
    }
    Ok(())
}

#[test]
fn every_mounted_secret_and_configuration_is_made_or_named_in_the_values() -> anyhow::Result<()> {
    for values in value_sets()? {
        // Secrets that the operator brings.
        let brought: &[&str] = match values.name {
            "fleet" => &["portal-certificate", "mail", "database-url"],
            "region" => &["database-gateway", "database-provisioner"],
            _ => &[],
        };
        let rendered = Rendered::of(&values, &[])?;
        let made: Vec<String> = rendered.objects.iter().map(name).collect();
        for (maker, pod) in rendered.pods() {
            for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
                let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
                let secrets = projected
                    .map(|source| &source["secret"]["name"])
                    .chain([&volume["secret"]["secretName"]]);
                for secret in secrets.filter_map(Value::as_str) {
                    let found = brought.contains(&secret) || made.contains(&format!("Secret/{secret}"));
                    assert!(found, "{} of {}: no Secret {secret}", maker, values.name);
                }
                if let Some(map) = volume["configMap"]["name"].as_str() {
                    assert!(made.contains(&format!("ConfigMap/{map}")), "{maker}: no ConfigMap {map}");
                }
            }
            let account = pod["spec"]["serviceAccountName"].as_str().context("an account")?;
            assert!(made.contains(&format!("ServiceAccount/{account}")), "{maker}: no account {account}");
        }
    }
    Ok(())
}

#[test]
fn only_the_migration_sees_the_owners_way_into_the_database_and_only_the_signer_the_sealing_key()
-> anyhow::Result<()> {
    for values in value_sets()? {
        let rendered = Rendered::of(&values, &[])?;
        for (maker, pod) in rendered.pods() {
            for container in containers(pod) {
                let who = format!("{maker}/{}", container["name"].as_str().unwrap_or_default());
                for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                    match mount["name"].as_str().unwrap_or_default() {
                        "owner" => assert!(
                            ["Deployment/portal/migrate", "StatefulSet/postgres/prepare"]
                                .contains(&who.as_str()),
                            "{who}"
                        ),
                        "roles" => assert_eq!(who, "Deployment/portal/migrate"),
                        "sealing" => assert_eq!(who, "Deployment/signer/signer"),
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(())
}
