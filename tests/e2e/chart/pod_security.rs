//! Pods that a tenant's namespace and the control plane's must not take, whoever asks: the list of the multi-tenancy
//! benchmark, each against Pod Security on a real API server.

use anyhow::{Context, ensure};
use e2e::nodeless::Nodeless;
use serde_json::{Value, json};

/// A pod that is let in.
fn good() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "x", "emptyDir": {}}],
            "containers": [{
                "name": "x", "image": "x", "ports": [{"containerPort": 80}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "resources": {
                    "requests": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"},
                    "limits": {"cpu": "1m", "memory": "1Mi", "ephemeral-storage": "1Mi"}
                },
            }],
        },
    })
}

/// What is wrong, where, and how it is said.
fn bad() -> Vec<(&'static str, &'static str, Value)> {
    let container = "/spec/containers/0/securityContext";
    vec![
        ("privileged", container, json!({"privileged": true, "allowPrivilegeEscalation": null})),
        ("allowPrivilegeEscalation", container, json!({"allowPrivilegeEscalation": true})),
        ("capabilities", container, json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}})),
        ("capabilities", container, json!({"capabilities": {}})),
        ("runAsNonRoot", "/spec/securityContext", json!({"runAsNonRoot": false})),
        ("runAsUser=0", "/spec/securityContext", json!({"runAsUser": 0})),
        ("seccompProfile", "/spec/securityContext", json!({"seccompProfile": null})),
        ("seccompProfile", "/spec/securityContext", json!({"seccompProfile": {"type": "Unconfined"}})),
        ("seLinuxOptions", container, json!({"seLinuxOptions": {"user": "system_u"}})),
        (
            "forbidden sysctls",
            "/spec/securityContext",
            json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        ),
        ("host namespaces", "/spec", json!({"hostNetwork": true})),
        ("host namespaces", "/spec", json!({"hostPID": true})),
        ("host namespaces", "/spec", json!({"hostIPC": true})),
        ("hostPort", "/spec/containers/0/ports/0", json!({"hostPort": 80})),
        ("hostPath", "/spec/volumes/0", json!({"emptyDir": null, "hostPath": {"path": "/"}})),
        (
            "restricted volume types",
            "/spec/volumes/0",
            json!({"emptyDir": null, "nfs": {"server": "x", "path": "/"}}),
        ),
    ]
}

fn changed(place: &str, change: &Value) -> anyhow::Result<Value> {
    let mut pod = good();
    let target = pod.pointer_mut(place).context("the place is there")?;
    for (key, value) in change.as_object().into_iter().flatten() {
        target[key] = value.clone();
    }
    Ok(pod)
}

#[test]
fn every_pod_of_the_list_is_refused_and_the_good_one_is_not() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let tenant = "fluvio-000000000000000000000000000000aa";
    let labels = json!({
        "fluvio-cloud/tenant": "true",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "v1.34",
    });
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant, "labels": labels}});
    let made = server.attempt(&["create", "--filename=-"], Some(&namespace))?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for place in [tenant, "fluvio-cloud"] {
        let arguments = ["create", "--dry-run=server", "--filename=-", "--namespace", place];
        let taken = server.attempt(&arguments, Some(&good()))?;
        ensure!(taken.status.success(), "the good one: {}", String::from_utf8_lossy(&taken.stderr));
        for (word, at, change) in bad() {
            let refused = server.attempt(&arguments, Some(&changed(at, &change)?))?;
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            ensure!(!refused.status.success(), "{change} was let into {place}");
            ensure!(said.contains("violates PodSecurity") && said.contains(word), "{change}: {said}");
        }
    }
    Ok(())
}
