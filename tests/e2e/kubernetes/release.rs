use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::border::Border;
use e2e::cloud::Cloud;
use e2e::fleet::{Fleet, ready_pods};
use e2e::oracle::Load;
use e2e::person::Person;
use e2e::region::{Region, Site};
use e2e::stream::works_again;
use e2e::tenant::Tenant;
use e2e::wait::until;
use serde_json::json;

/// SC and SPUs.
const PODS: usize = 3;

/// Looks at the pods until all run the image; says so when more than one was away at any look.
async fn until_rolled(namespace: &str, image: &str) -> anyhow::Result<usize> {
    let fleet = Fleet::shared()?;
    let mut looks = 0;
    let rolled = until("all pods run the new image", Duration::from_secs(240), async || {
        let pods = fleet.objects(namespace, "pods").await?;
        let ready = ready_pods(&pods).len();
        looks += 1;
        if ready + 1 < PODS {
            return Ok(Some(Err(anyhow::anyhow!("{ready} of {PODS} pods are ready, in look {looks}"))));
        }
        let new = pods.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image).count();
        ensure!(ready == PODS && new == PODS, "{ready} pods are ready, {new} run the new image");
        Ok(Some(Ok(())))
    });
    rolled.await??;
    Ok(looks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_image_is_rolled_out_pod_by_pod_and_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let fleet = Fleet::shared()?;
    let cloud = Cloud::start("release", &[])?;
    let border = Border::open(&cloud, "release")?;
    let site = Site { gateway: Some(border.address), ..fleet.site(fleet.kubeconfig().to_path_buf()) };
    let region = Region::new(&cloud, "release", site).await?;
    region.start()?;
    let person = Person::sign_up(&cloud).await?;
    let wanted = json!({ "name": "rolled", "region": "release", "spus": PODS - 1 });
    person.api.post_json("/api/v1/clusters", &wanted).await?.expect(201)?;
    let cluster = person.running("rolled").await.with_context(|| region.end_of_log())?;
    let tenant = Tenant { person, cluster, home: tempfile::tempdir()? };
    tenant.log_in().await?;
    let load = Load::start(&tenant, "rolling", 2).await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    fleet
        .until("all pods are ready before", async || {
            Ok((ready_pods(&fleet.objects(&namespace, "pods").await?).len() == PODS).then_some(()))
        })
        .await?;
    let image = fleet.cluster_image_as(&format!("next-{}", &tenant.cluster.id[..8]))?;
    region.kill();
    region.end_leases(&cloud).await?;
    region.set_image(&image)?;
    region.start()?;
    let looks = until_rolled(&namespace, &image).await.with_context(|| region.end_of_log())?;
    load.wait_for_more(200).await?;
    works_again(&tenant, "afterwards").await?;
    let errors = load.errors();
    let there = load.verify(&tenant).await?;
    println!(
        "{there} acknowledged records are there; {errors} rounds were repeated; {looks} looks at the pods"
    );
    let id = tenant.cluster.id.parse()?;
    region.want_gone(&cloud, id).await?;
    region.until_gone(&cloud, id).await
}
