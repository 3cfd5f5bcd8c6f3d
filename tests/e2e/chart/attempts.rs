//! A provisioner that has been taken over tries what it can think of on a real API server, with its roles as they
//! are and with roles that would let it do everything.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::nodeless::Nodeless;
use serde_json::{Value, json};

const PROVISIONER: &str = "--as=system:serviceaccount:fluvio-cloud:provisioner";

/// Who says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// It has no such right.
    Rights,
    /// ValidatingAdmissionPolicy fluvio-cloud-tenants-only.
    Policy,
}

fn namespace(name: &str, labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

const TENANT: (&str, &str) = ("fluvio-cloud/tenant", "true");
const RESTRICTED: (&str, &str) = ("pod-security.kubernetes.io/enforce", "restricted");
const VERSION: (&str, &str) = ("pod-security.kubernetes.io/enforce-version", "v1.34");

fn named(kind: &str, version: &str, name: &str, namespace: &str, rest: &Value) -> Value {
    let mut object =
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    for (key, value) in rest.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

fn binding(name: &str, namespace: &str, role: (&str, &str), subjects: &Value) -> Value {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1});
    let rest = json!({"roleRef": role, "subjects": subjects});
    named("RoleBinding", "rbac.authorization.k8s.io/v1", name, namespace, &rest)
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

fn service(name: &str, namespace: &str, spec: &Value) -> Value {
    let mut whole = json!({"ports": [{"port": 9003}], "selector": {"app": "sc"}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
    named("Service", "v1", name, namespace, &json!({"spec": whole}))
}

fn servers(name: &str, namespace: &str, priority: &str) -> Value {
    let container = json!({
        "name": "sc", "image": "localhost/fluvio-cloud/cluster:1",
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    let pod = json!({
        "priorityClassName": priority, "containers": [container],
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
    });
    let labels = json!({"app": name});
    let spec = json!({
        "serviceName": "servers", "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    });
    named("StatefulSet", "apps/v1", name, namespace, &json!({"spec": spec}))
}

/// A provisioner and the namespace that it has made, as it does for every tenant.
struct Provisioner<'a> {
    server: &'a Nodeless,
    tenant: String,
}

impl<'a> Provisioner<'a> {
    fn with_tenant(server: &'a Nodeless, id: &str) -> anyhow::Result<Provisioner<'a>> {
        let provisioner = Provisioner { server, tenant: format!("fluvio-{id}") };
        provisioner.until_held()?;
        provisioner.may_apply(&namespace(&provisioner.tenant, &[TENANT, RESTRICTED, VERSION]))?;
        let own = json!([account("fluvio-cloud", "provisioner")]);
        let role = ("ClusterRole", "fluvio-cloud-tenant");
        provisioner.may_apply(&binding("provisioner", &provisioner.tenant, role, &own))?;
        Ok(provisioner)
    }

    /// A policy is in force a moment after it was installed: once a server's own watch has told it.
    fn until_held(&self) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        let foreign = [PROVISIONER, "create", "namespace", "nobodys", "--dry-run=server"];
        while self.server.attempt(&foreign, None)?.status.success() {
            ensure!(Instant::now() < end, "the policy is not in force");
        }
        Ok(())
    }

    fn may(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.server.attempt(&[&[PROVISIONER], arguments].concat(), None)?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn may_apply(&self, object: &Value) -> anyhow::Result<()> {
        let output = self.apply(object)?;
        ensure!(output.status.success(), "{object}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn apply(&self, object: &Value) -> anyhow::Result<std::process::Output> {
        let manager = "--field-manager=fluvio-cloud-provisioner";
        self.server.attempt(&[PROVISIONER, "apply", "--server-side", manager, "--filename=-"], Some(object))
    }

    fn create(&self, object: &Value) -> anyhow::Result<std::process::Output> {
        self.server.attempt(&[PROVISIONER, "create", "--filename=-"], Some(object))
    }

    /// Refused, and by whom.
    fn must_not(&self, by: By, what: &str, output: &std::process::Output) -> anyhow::Result<()> {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{what} was let through");
        let policy = said.contains("ValidatingAdmissionPolicy 'fluvio-cloud-tenants-only'");
        // A grant beyond one's own rights is refused by the API server's own rule about grants.
        let rights = said.contains("cannot ")
            || said.contains("attempting to grant RBAC permissions not currently held");
        let found = if policy { By::Policy } else { By::Rights };
        ensure!((policy || rights) && found == by, "{what} was refused, but not by {by:?}: {said}");
        Ok(())
    }

    fn must_not_run(&self, by: By, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.server.attempt(&[&[PROVISIONER], arguments].concat(), None)?;
        self.must_not(by, &arguments.join(" "), &output)
    }

    fn must_not_apply(&self, by: By, object: &Value) -> anyhow::Result<()> {
        self.must_not(by, &object.to_string(), &self.apply(object)?)
    }
}

#[test]
fn a_provisioner_keeps_a_tenants_namespace_from_its_making_to_its_end() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let provisioner = Provisioner::with_tenant(server, "00000000000000000000000000000001")?;
    let tenant = &provisioner.tenant;
    for object in [
        named("ServiceAccount", "v1", "servers", tenant, &json!({"automountServiceAccountToken": false})),
        named("ConfigMap", "v1", "config", tenant, &json!({"data": {"sc.toml": ""}})),
        named("ResourceQuota", "v1", "quota", tenant, &json!({"spec": {"hard": {"pods": "5"}}})),
        named("LimitRange", "v1", "limits", tenant, &json!({"spec": {"limits": [{"type": "Container"}]}})),
        named(
            "NetworkPolicy",
            "networking.k8s.io/v1",
            "nothing",
            tenant,
            &json!({"spec": {"podSelector": {}}}),
        ),
        named("PodDisruptionBudget", "policy/v1", "spus", tenant, &json!({"spec": {"maxUnavailable": 1}})),
        service("sc", tenant, &json!({})),
        servers("sc", tenant, "fluvio-cloud-tenant"),
    ] {
        provisioner.may_apply(&object)?;
        // Once more is a change of what is there already.
        provisioner.may_apply(&object)?;
    }
    let secret = named("Secret", "v1", "internal-0123456789", tenant, &json!({"immutable": true}));
    ensure!(provisioner.create(&secret)?.status.success(), "the secret was not made");
    provisioner.may(&["get", "secrets", "--namespace", tenant])?;
    provisioner.may(&["delete", "secret", "internal-0123456789", "--namespace", tenant])?;
    provisioner.may(&["get", "statefulsets,pods,services,configmaps", "--all-namespaces"])?;
    provisioner.may(&["label", "namespace", tenant, "fluvio-cloud/region=main"])?;
    provisioner.may(&["delete", "namespace", tenant, "--wait=false"])?;
    Ok(())
}

#[test]
fn no_namespace_becomes_a_tenants_and_no_tenants_becomes_another() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let provisioner = Provisioner::with_tenant(server, "00000000000000000000000000000002")?;
    let tenant = provisioner.tenant.as_str();
    let name = "fluvio-0000000000000000000000000000ffff";
    for object in [
        namespace(name, &[]),
        namespace(name, &[RESTRICTED, VERSION]),
        namespace(name, &[("fluvio-cloud/tenant", "false"), RESTRICTED, VERSION]),
        namespace(name, &[TENANT]),
        namespace(name, &[TENANT, ("pod-security.kubernetes.io/enforce", "privileged"), VERSION]),
        namespace(name, &[TENANT, RESTRICTED, ("pod-security.kubernetes.io/enforce-version", "v1.0")]),
        namespace("kube-other", &[TENANT, RESTRICTED, VERSION]),
        namespace("fluvio-0000", &[TENANT, RESTRICTED, VERSION]),
        namespace(&format!("x{name}"), &[TENANT, RESTRICTED, VERSION]),
        namespace(&format!("{name}0"), &[TENANT, RESTRICTED, VERSION]),
        // One that is there already, and not a tenant's.
        namespace("default", &[TENANT, RESTRICTED, VERSION]),
        namespace("fluvio-cloud", &[TENANT, RESTRICTED, VERSION]),
    ] {
        provisioner.must_not_apply(By::Policy, &object)?;
    }
    for arguments in [
        &["label", "namespace", "kube-system", "fluvio-cloud/tenant=true"][..],
        &["label", "namespace", "kube-public", "colour=red"],
        &["delete", "namespace", "kube-node-lease"],
        &["delete", "namespace", "fluvio-cloud"],
        &["label", "namespace", tenant, "fluvio-cloud/tenant-"],
        &["label", "--overwrite", "namespace", tenant, "fluvio-cloud/tenant=false"],
        &["label", "namespace", tenant, "pod-security.kubernetes.io/enforce-"],
        &["label", "--overwrite", "namespace", tenant, "pod-security.kubernetes.io/enforce=baseline"],
    ] {
        provisioner.must_not_run(By::Policy, arguments)?;
    }
    Ok(())
}

#[test]
fn no_right_is_given_to_others_or_anywhere_else() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let provisioner = Provisioner::with_tenant(server, "00000000000000000000000000000003")?;
    let tenant = provisioner.tenant.as_str();
    let own = json!([account("fluvio-cloud", "provisioner")]);
    let role = ("ClusterRole", "fluvio-cloud-tenant");
    for place in ["kube-system", "default", "fluvio-cloud"] {
        provisioner.must_not_apply(By::Policy, &binding("x", place, role, &own))?;
    }
    for subjects in [
        json!([account("fluvio-cloud", "gateway")]),
        json!([account(tenant, "provisioner")]),
        json!([account("fluvio-cloud", "provisioner"), account("fluvio-cloud", "gateway")]),
        json!([{"kind": "User", "name": "provisioner", "apiGroup": "rbac.authorization.k8s.io"}]),
        json!([{"kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io"}]),
        json!([]),
    ] {
        provisioner.must_not_apply(By::Policy, &binding("x", tenant, role, &subjects))?;
        provisioner.must_not_apply(By::Policy, &binding("provisioner", tenant, role, &subjects))?;
    }
    for role in [("ClusterRole", "cluster-admin"), ("ClusterRole", "fluvio-cloud-provisioner"), ("Role", "x")]
    {
        let output = provisioner.create(&binding("x", tenant, role, &own))?;
        ensure!(!output.status.success(), "{role:?} was bound");
    }
    for (kind, name) in [("ClusterRoleBinding", "x"), ("ClusterRole", "fluvio-cloud-tenant")] {
        let rest = json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
        let mut object = named(kind, "rbac.authorization.k8s.io/v1", name, "", &rest);
        if kind == "ClusterRole" {
            object = named(kind, "rbac.authorization.k8s.io/v1", name, "", &json!({"rules": []}));
        }
        provisioner.must_not_apply(By::Rights, &object)?;
    }
    Ok(())
}

#[test]
fn what_it_has_no_business_with_is_closed_to_it() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let provisioner = Provisioner::with_tenant(server, "00000000000000000000000000000004")?;
    let tenant = provisioner.tenant.as_str();
    for arguments in [
        &["get", "secrets", "--all-namespaces"][..],
        &["get", "secrets", "--namespace", "kube-system"],
        &["get", "secrets", "--namespace", "fluvio-cloud"],
        &["get", "secret", "sealing-key", "--namespace", "fluvio-cloud"],
        &["get", "nodes"],
        &["delete", "persistentvolume", "x"],
        &["get", "--raw", "/metrics"],
        &["create", "token", "default", "--namespace", tenant],
        &["create", "configmap", "x", "--namespace", "default"],
        &["create", "configmap", "x", "--namespace", "fluvio-cloud"],
        &["delete", "pod", "x", "--namespace", "kube-system"],
        &["delete", "statefulset", "postgres", "--namespace", "fluvio-cloud"],
        &["delete", "validatingadmissionpolicy", "fluvio-cloud-tenants-only"],
        &["delete", "validatingadmissionpolicybinding", "fluvio-cloud-tenants-only"],
        &["delete", "clusterrole", "view"],
        &["delete", "pods", "--all", "--namespace", "fluvio-cloud"],
        &[
            "create",
            "--raw",
            &format!("/api/v1/namespaces/{tenant}/pods/x/exec?command=true"),
            "--filename=-",
        ],
        &["create", "--raw", &format!("/api/v1/namespaces/{tenant}/pods/x/portforward"), "--filename=-"],
        &["get", "--raw", &format!("/api/v1/namespaces/{tenant}/pods/x/log")],
        &["get", "--raw", "/api/v1/nodes/x/proxy/metrics"],
    ] {
        provisioner.must_not_run(By::Rights, arguments)?;
    }
    // In a tenant's namespace too it takes no traffic that is not its tenant's, and makes no pod that outranks others.
    provisioner.may_apply(&service("sc", tenant, &json!({})))?;
    for spec in [
        json!({"type": "NodePort"}),
        json!({"type": "LoadBalancer"}),
        json!({"type": "ExternalName", "externalName": "example.org"}),
        json!({"externalIPs": ["192.0.2.1"]}),
    ] {
        provisioner.must_not_apply(By::Policy, &service("sc", tenant, &spec))?;
        provisioner.must_not_apply(By::Policy, &service("other", tenant, &spec))?;
    }
    for priority in ["system-node-critical", "fluvio-cloud"] {
        provisioner.must_not_apply(By::Policy, &servers("sc", tenant, priority))?;
    }
    let pod = json!({"spec": {"containers": [{"name": "x", "image": "x"}]}});
    provisioner.must_not_apply(By::Rights, &named("Pod", "v1", "x", tenant, &pod))?;
    Ok(())
}

/// On a server of its own, because here the operator makes a mistake.
#[test]
fn the_policy_holds_even_where_a_role_would_give_everything() -> anyhow::Result<()> {
    let server = Nodeless::start("policy")?;
    server.install("one-node", &[])?;
    let provisioner = Provisioner::with_tenant(&server, "00000000000000000000000000000005")?;
    let everything = ["--clusterrole=cluster-admin", "--serviceaccount=fluvio-cloud:provisioner"];
    server.kubectl(&[&["create", "clusterrolebinding", "mistake"], &everything[..]].concat())?;
    for arguments in [
        &["create", "configmap", "x", "--namespace", "default"][..],
        &["create", "token", "gateway", "--namespace", "fluvio-cloud"],
        &["delete", "secret", "sealing-key", "--namespace", "fluvio-cloud"],
        &["scale", "deployment", "portal", "--replicas=0", "--namespace", "fluvio-cloud"],
        &["delete", "clusterrole", "view"],
        &["create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=x"],
        &["label", "namespace", "default", "fluvio-cloud/tenant=true"],
        &["delete", "namespace", "fluvio-cloud"],
        &["create", "namespace", "other"],
        &["create", "priorityclass", "x", "--value=5"],
    ] {
        provisioner.must_not_run(By::Policy, arguments)?;
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "x"}});
    provisioner.must_not_apply(By::Policy, &node)?;
    let tenant = provisioner.tenant.as_str();
    let role = ("ClusterRole", "cluster-admin");
    let own = json!([account("fluvio-cloud", "provisioner")]);
    provisioner.must_not(
        By::Policy,
        "cluster-admin",
        &provisioner.create(&binding("x", tenant, role, &own))?,
    )?;
    // It is the provisioner that is held, and nobody else.
    server.kubectl(&["create", "configmap", "x", "--namespace", "default"])?;
    Ok(())
}
