//! What the provisioner may do. The full text is committed (deploy/chart/rbac.txt), so that no right is added
//! unseen.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, ensure};
use e2e::chart::{Rendered, folder, value_set, value_sets};
use e2e::nodeless::Nodeless;
use serde_json::{Value, json};

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Every rule and every binding, as text.
fn rights(rendered: &Rendered) -> anyhow::Result<String> {
    let mut text = String::new();
    for kind in ["ClusterRole", "Role"] {
        for role in rendered.kind(kind) {
            writeln!(text, "{kind} {}", role["metadata"]["name"].as_str().context("a name")?)?;
            for rule in role["rules"].as_array().context("rules")? {
                let groups = words(&rule["apiGroups"]);
                let groups: Vec<&str> =
                    groups.iter().map(|group| if group.is_empty() { "core" } else { group }).collect();
                let only = words(&rule["resourceNames"]).join(" ");
                let only = if only.is_empty() { only } else { format!(" called {only}") };
                let verbs = words(&rule["verbs"]).join(" ");
                for resource in words(&rule["resources"]) {
                    writeln!(text, "  {}/{resource}{only}: {verbs}", groups.join(","))?;
                }
            }
        }
    }
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        for binding in rendered.kind(kind) {
            let subjects: Vec<String> =
                binding["subjects"].as_array().context("subjects")?.iter().map(subject).collect();
            let role = binding["roleRef"]["name"].as_str().context("a role")?;
            writeln!(text, "{kind} of {role} to {}", subjects.join(", "))?;
        }
    }
    Ok(text)
}

fn subject(value: &Value) -> String {
    let word = |key: &str| value[key].as_str().unwrap_or("?").to_owned();
    format!("{} {}/{}", word("kind"), word("namespace"), word("name"))
}

#[test]
fn the_rights_are_the_ones_that_were_agreed_on() -> anyhow::Result<()> {
    let committed = std::fs::read_to_string(folder()?.join("rbac.txt"))?;
    for values in value_sets()? {
        let found = rights(&Rendered::of(&values, &[])?)?;
        assert!(
            found == committed,
            "deploy/chart/rbac.txt is not what is rendered with {}:\n{found}",
            values.name
        );
    }
    Ok(())
}

/// Rules that would be a way out of the walls.
fn dangers(role: &Value) -> Vec<String> {
    let mut dangers = Vec::new();
    let is_bound_everywhere = role["metadata"]["name"] == "fluvio-cloud-provisioner";
    for rule in role["rules"].as_array().into_iter().flatten() {
        let (resources, verbs) = (words(&rule["resources"]), words(&rule["verbs"]));
        let all = [words(&rule["apiGroups"]), resources.clone(), verbs.clone()].concat();
        if all.iter().any(|word| word.contains('*')) || !rule["nonResourceURLs"].is_null() {
            dangers.push(format!("wildcard: {rule}"));
        }
        for verb in ["escalate", "impersonate", "approve", "sign", "use", "deletecollection"] {
            if verbs.contains(&verb) {
                dangers.push(format!("{verb}: {rule}"));
            }
        }
        if verbs.contains(&"bind")
            && (rule["resourceNames"] != json!(["fluvio-cloud-tenant"])
                || resources != ["clusterroles"]
                || verbs != ["bind"])
        {
            dangers.push(format!("bind of more than one role: {rule}"));
        }
        if is_bound_everywhere && resources.contains(&"secrets") {
            dangers.push(format!("every secret: {rule}"));
        }
        let reading = verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb));
        if resources.contains(&"persistentvolumes") && !reading {
            dangers.push(format!("other tenants' volumes: {rule}"));
        }
        let reaching = [
            "pods/exec",
            "pods/attach",
            "pods/portforward",
            "pods/ephemeralcontainers",
            "nodes",
            "nodes/proxy",
            "serviceaccounts/token",
            "clusterrolebindings",
            "certificatesigningrequests",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "customresourcedefinitions",
            "roles",
        ];
        for resource in resources.iter().filter(|resource| reaching.contains(resource)) {
            dangers.push(format!("{resource}: {rule}"));
        }
    }
    dangers
}

#[test]
fn no_rule_is_a_way_out() -> anyhow::Result<()> {
    let rendered = Rendered::of(&value_set("least")?, &[])?;
    let roles: Vec<&Value> = rendered.kind("ClusterRole").chain(rendered.kind("Role")).collect();
    assert_eq!(roles.len(), 2);
    for role in &roles {
        let found = dangers(role);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    for planted in [
        json!({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}),
        json!({"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}),
        json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]}),
        json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["escalate"]}),
        json!({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}),
        json!({"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "delete"]}),
    ] {
        let role = json!({"metadata": {"name": "fluvio-cloud-provisioner"}, "rules": [planted]});
        assert!(!dangers(&role).is_empty(), "{role} is not seen");
    }
    Ok(())
}

#[test]
fn the_tenants_role_is_bound_nowhere_by_the_chart() -> anyhow::Result<()> {
    for values in value_sets()? {
        let rendered = Rendered::of(&values, &[])?;
        assert_eq!(rendered.kind("RoleBinding").count(), 0);
        let bindings: Vec<&Value> = rendered.kind("ClusterRoleBinding").collect();
        assert_eq!(bindings.len(), 1);
        assert_eq!(bindings[0]["roleRef"]["name"], "fluvio-cloud-provisioner");
    }
    Ok(())
}

/// What the API server says that an account may do in a namespace, one line per resource and verb.
fn reviewed(server: &Nodeless, account: &str, namespace: &str) -> anyhow::Result<BTreeSet<String>> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace},
    });
    let who = format!("--as=system:serviceaccount:fluvio-cloud:{account}");
    let output = server
        .attempt(&[&who, "create", "--validate=false", "--filename=-", "--output=json"], Some(&review))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let rules = answer["status"]["resourceRules"].as_array().context("rules")?;
    let lines = rules.iter().flat_map(|rule| {
        let (groups, only) = (words(&rule["apiGroups"]).join(","), words(&rule["resourceNames"]).join(" "));
        let each = |resource| {
            let (groups, only) = (groups.clone(), only.clone());
            words(&rule["verbs"]).into_iter().map(move |verb| format!("{groups}/{resource} {only} {verb}"))
        };
        words(&rule["resources"]).into_iter().flat_map(each).collect::<Vec<_>>()
    });
    Ok(lines.collect())
}

/// The lines that rules would give.
fn lines(role: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for resource in words(&rule["resources"]) {
            for verb in words(&rule["verbs"]) {
                let (groups, only) =
                    (words(&rule["apiGroups"]).join(","), words(&rule["resourceNames"]).join(" "));
                lines.insert(format!("{groups}/{resource} {only} {verb}"));
            }
        }
    }
    lines
}

#[test]
fn the_api_server_gives_the_provisioner_these_rights_and_no_other_program_any() -> anyhow::Result<()> {
    let server = Nodeless::shared()?;
    let rendered = Rendered::of(&value_set("one-node")?, &[])?;
    let agreed = lines(rendered.one("ClusterRole", "fluvio-cloud-provisioner")?);
    for namespace in ["kube-system", "fluvio-cloud", "default"] {
        // What every account has, such as asking for its own rights.
        let everybody = reviewed(server, "nobody-of-ours", namespace)?;
        let found = reviewed(server, "provisioner", namespace)?;
        assert_eq!(&found - &everybody, agreed, "in {namespace}");
        for program in ["portal", "gateway", "signer", "postgres"] {
            assert_eq!(reviewed(server, program, namespace)?, everybody, "{program} in {namespace}");
        }
    }
    Ok(())
}
