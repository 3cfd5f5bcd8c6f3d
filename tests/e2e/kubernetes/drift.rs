use e2e::fleet::Fleet;
use e2e::stream::{whole_flow, works_again};
use serde_json::Value;

/// What a tenant's namespace is made of, beside what Kubernetes itself adds.
const OWNED: &str = "resourcequotas,limitranges,networkpolicies,serviceaccounts,configmaps,statefulsets,services,\
                     poddisruptionbudgets,rolebindings";

fn owned(objects: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    objects
        .iter()
        .filter(|each| each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "fluvio-cloud")
        .map(|each| (text(&each["kind"]), text(&each["metadata"]["name"]), text(&each["metadata"]["uid"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_owned_object_that_somebody_deletes_comes_back() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = fleet.tenant().await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    let before = owned(&fleet.objects(&namespace, OWNED).await?);
    assert!(before.len() >= 12, "{before:?}");
    for (kind, name, uid) in &before {
        // The role binding is what the repair itself is done with.
        fleet.kubectl(&["delete", "--namespace", &namespace, kind, name, "--wait=false"]).await?;
        fleet
            .until(&format!("{kind} {name} is back"), async || {
                let object = fleet.object(&namespace, kind, name).await?;
                let back = object.is_some_and(|object| {
                    object["metadata"]["uid"] != uid.as_str()
                        && object["metadata"]["deletionTimestamp"].is_null()
                });
                Ok(back.then_some(()))
            })
            .await?;
    }
    works_again(&tenant, "after-deletions").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_edit_of_an_owned_object_is_undone() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = fleet.tenant().await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    let sc = &format!("--namespace={namespace}");
    for (kind, name, patch, path) in [
        (
            "namespace",
            namespace.as_str(),
            r#"{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}"#,
            "/metadata/labels/pod-security.kubernetes.io~1enforce",
        ),
        ("statefulset", "main", r#"{"spec":{"replicas":3}}"#, "/spec/replicas"),
        ("service", "sc", r#"{"spec":{"selector":{"app":"stranger"}}}"#, "/spec/selector"),
        ("configmap", "config", r#"{"data":{"sc.toml":"nonsense"}}"#, "/data/sc.toml"),
        ("networkpolicy", "nothing-else", r#"{"spec":{"ingress":[{}]}}"#, "/spec"),
    ] {
        let before = fleet.object(&namespace, kind, name).await?.expect(kind);
        let right = before.pointer(path).cloned();
        fleet.kubectl(&["patch", sc, kind, name, "--type=merge", "--patch", patch]).await?;
        fleet
            .until(&format!("the edit of {kind} {name} is undone"), async || {
                let now = fleet.object(&namespace, kind, name).await?.expect(kind);
                Ok((now.pointer(path).cloned() == right).then_some(()))
            })
            .await?;
    }
    whole_flow(&tenant, "after-edits").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_cluster_is_written_to_by_nobody() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = fleet.tenant().await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    let versions = async || -> anyhow::Result<Vec<(String, String)>> {
        let mut all: Vec<(String, String)> = fleet
            .objects(&namespace, OWNED)
            .await?
            .iter()
            .map(|each| {
                (
                    format!("{}/{}", each["kind"], each["metadata"]["name"]),
                    each["metadata"]["resourceVersion"].to_string(),
                )
            })
            .collect();
        all.sort();
        Ok(all)
    };
    // A cluster runs a moment before Kubernetes has written that its pods are ready.
    fleet
        .until("its sets and its budget have seen all pods", async || {
            let sets = fleet.objects(&namespace, "statefulsets").await?;
            let budgets = fleet.objects(&namespace, "poddisruptionbudgets").await?;
            let seen = sets.iter().all(|set| {
                let (wanted, status) = (&set["spec"]["replicas"], &set["status"]);
                status["readyReplicas"] == *wanted && status["availableReplicas"] == *wanted
            });
            let mut counted = budgets.iter().map(|budget| &budget["status"]);
            let counted = counted.all(|status| status["currentHealthy"] == status["expectedPods"]);
            Ok((seen && counted).then_some(()))
        })
        .await?;
    // A new provisioner looks at everything anew: a pass over a settled world.
    let settled = versions().await?;
    fleet.replace("provisioner").await?;
    whole_flow(&tenant, "after-a-new-provisioner").await?;
    assert_eq!(versions().await?, settled);
    Ok(())
}
