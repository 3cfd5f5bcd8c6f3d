use e2e::fleet::{Fleet, ready_pods};
use e2e::http::Ask;
use e2e::oracle::Load;
use e2e::stream::{create_copied_topic, whole_flow, works_again};
use e2e::tenant::Tenant;
use fluvio::metadata::topic::TopicSpec;
use hyper::Method;
use serde_json::json;

async fn change(tenant: &Tenant, body: &serde_json::Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
    tenant.person.api.ask(Ask::new(Method::PATCH, &path).json(body)).await?.expect(200)?;
    Ok(())
}

async fn until_pods(fleet: &Fleet, tenant: &Tenant, names: &[&str]) -> anyhow::Result<()> {
    let namespace = Fleet::namespace(&tenant.cluster.id);
    fleet
        .until(&format!("the pods are {names:?}"), async || {
            let pods = fleet.objects(&namespace, "pods").await?;
            Ok((ready_pods(&pods) == names && pods.len() == names.len()).then_some(()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spus_are_added_and_removed_under_load() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = fleet.tenant().await?;
    let load = Load::start(&tenant, "growing", 1).await?;
    change(&tenant, &json!({"spus": 3})).await?;
    until_pods(fleet, &tenant, &["main-0", "main-1", "main-2", "sc-0"]).await?;
    tenant.person.running(&tenant.cluster.id).await?;
    let admin = tenant.admin().await?;
    create_copied_topic(&admin, "everywhere", 1, 3).await?;
    let spread = Load::start(&tenant, "spread", 3).await?;
    spread.wait_for_more(200).await?;
    // Three copies need three SPUs: they stay until the topic is gone, and the tenant is told.
    change(&tenant, &json!({"spus": 1})).await?;
    fleet
        .until("the tenant is told what the removal waits for", async || {
            let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
            let cluster = tenant.person.api.get(&path).await?.expect(200)?.json()?;
            Ok(cluster["reason"].as_str().is_some_and(|reason| reason.contains("main-2")).then_some(()))
        })
        .await?;
    admin.delete::<TopicSpec>("everywhere".to_string()).await?;
    // The others' partitions move to the SPU that stays.
    until_pods(fleet, &tenant, &["main-0", "sc-0"]).await?;
    fleet
        .until("the volumes of removed SPUs are gone", async || {
            let namespace = Fleet::namespace(&tenant.cluster.id);
            let claims = fleet.objects(&namespace, "persistentvolumeclaims").await?;
            anyhow::ensure!(claims.len() == 2, "{} are there", claims.len());
            Ok(Some(()))
        })
        .await?;
    works_again(&tenant, "small-again").await?;
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    println!("{} acknowledged records have moved", spread.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_cluster_keeps_its_data_and_its_certificates() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = fleet.tenant().await?;
    let load = Load::start(&tenant, "kept", 1).await?;
    let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
    let pause = Ask::new(Method::POST, &format!("{path}/pause")).json(&json!({}));
    tenant.person.api.ask(pause).await?.expect(202)?;
    until_pods(fleet, &tenant, &[]).await?;
    assert_eq!(
        fleet.objects(&Fleet::namespace(&tenant.cluster.id), "persistentvolumeclaims").await?.len(),
        2
    );
    let resume = Ask::new(Method::POST, &format!("{path}/resume")).json(&json!({}));
    tenant.person.api.ask(resume).await?.expect(202)?;
    tenant.person.running(&tenant.cluster.id).await?;
    load.wait_for_more(200).await?;
    // The profile from before the pause is still good.
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_cluster_leaves_no_object_and_no_volume() -> anyhow::Result<()> {
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = fleet.tenant().await?;
    whole_flow(&tenant, "short-lived").await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    let path = format!("/api/v1/clusters/{}", tenant.cluster.id);
    tenant.person.api.delete(&path).await?.expect(202)?;
    until_pods(fleet, &tenant, &[]).await?;
    // The days of grace are over.
    let over = format!("UPDATE clusters SET purge_after = now() WHERE id = '{}'", tenant.cluster.id);
    fleet.sql(&over).await?;
    fleet
        .until("the namespace is gone", async || {
            Ok(fleet.object("", "namespace", &namespace).await?.is_none().then_some(()))
        })
        .await?;
    fleet
        .until("no volume is left", async || {
            let volumes = fleet.kubectl(&["get", "persistentvolumes", "-o", "json"]).await?;
            Ok((!volumes.contains(&namespace)).then_some(()))
        })
        .await?;
    Ok(())
}
