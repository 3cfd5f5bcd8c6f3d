use std::time::Duration;

use e2e::fleet::{Fleet, ready_pods};
use e2e::oracle::Load;
use e2e::stream::works_again;
use e2e::wait::until;

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
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
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
