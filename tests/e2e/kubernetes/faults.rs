use std::time::Duration;

use e2e::fleet::{Fleet, ready_pods};
use e2e::oracle::Load;
use e2e::stream::works_again;
use e2e::wait::until;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_pods_and_a_restarted_kubelet_and_api_server_lose_nothing_acknowledged() -> anyhow::Result<()>
{
    let fleet = Fleet::shared()?;
    let _alone = Fleet::disturbing().await;
    let tenant = fleet.tenant().await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    let load = Load::start(&tenant, "under-load", 1).await?;
    for pod in ["sc-0", "main-0"] {
        fleet.kubectl(&["delete", "pod", pod, "-n", &namespace, "--grace-period=0", "--force"]).await?;
        until("the pod is back", Duration::from_secs(120), async || {
            Ok((ready_pods(&fleet.objects(&namespace, "pods").await?).len() == 2).then_some(()))
        })
        .await?;
        load.wait_for_more(200).await?;
        works_again(&tenant, &format!("after-{pod}")).await?;
    }
    for program in ["kubelet", "apiserver"] {
        let errors = load.errors();
        fleet.service("restart", program)?;
        load.wait_for_more(200).await?;
        assert_eq!(load.errors(), errors, "a client felt the restart of the {program}");
        until("the API server answers", Duration::from_secs(60), async || {
            fleet.kubectl(&["get", "--raw=/readyz"]).await.map(Some)
        })
        .await?;
    }
    // The next test meets a cloud that is whole again.
    all_were_probed(fleet).await?;
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

/// A restarted kubelet calls each pod that has a probe unready until the first one succeeds, seconds after it answers
/// itself: till then the pod has no place behind its service.
async fn all_were_probed(fleet: &Fleet) -> anyhow::Result<()> {
    let node = fleet.kubectl(&["get", "nodes", "--output=jsonpath={.items[0].metadata.name}"]).await?;
    let probes = format!("--raw=/api/v1/nodes/{node}/proxy/metrics/probes");
    fleet
        .until("the kubelet found every program of the cloud ready", async || {
            let counts = fleet.kubectl(&["get", &probes]).await?;
            let pods = fleet.objects("fluvio-cloud", "pods").await?;
            let whole = ready_pods(&pods).len() == pods.len()
                && pods.iter().filter(|pod| has_probe(pod)).all(|pod| succeeded(pod, &counts));
            Ok(whole.then_some(()))
        })
        .await?;
    let visitor = fleet.visitor();
    fleet.until("the portal answers", async || visitor.get("/readyz").await.map(Some)).await?;
    Ok(())
}

fn has_probe(pod: &Value) -> bool {
    pod["spec"]["containers"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["readinessProbe"].is_object()))
}

fn succeeded(pod: &Value, counts: &str) -> bool {
    let name = format!("pod={}", pod["metadata"]["name"]);
    let parts = ["prober_probe_total{", &name, "probe_type=\"Readiness\"", "result=\"successful\""];
    counts.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_program_of_the_cloud_is_replaced_under_load() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _alone = Fleet::disturbing().await;
    let tenant = fleet.tenant().await?;
    let load = Load::start(&tenant, "replaced", 1).await?;
    for program in ["provisioner", "signer", "portal", "gateway"] {
        fleet.replace(program).await?;
        load.wait_for_more(200).await?;
    }
    works_again(&tenant, "after-all").await?;
    works_again(&fleet.tenant().await?, "newcomer").await?;
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}
