use std::time::Duration;

use e2e::fleet::{Fleet, ready_pods};
use e2e::oracle::Load;
use e2e::person::Person;
use e2e::stream::works_again;
use e2e::tenant::Tenant;
use e2e::wait::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_pod_of_three_copies_is_killed_under_load_and_nothing_acknowledged_is_lost() -> anyhow::Result<()>
{
    let fleet = Fleet::shared()?;
    let _quiet = Fleet::undisturbed().await;
    let tenant = Tenant::with_cluster(Person::sign_up_in(fleet.visitor()).await?, "three", 3).await?;
    let namespace = Fleet::namespace(&tenant.cluster.id);
    let load = Load::copied(&tenant, "copied", 3, 3).await?;
    for pod in ["main-0", "main-1", "main-2", "sc-0"] {
        fleet.kubectl(&["delete", "pod", pod, "-n", &namespace, "--grace-period=0", "--force"]).await?;
        load.wait_for_more(200).await?;
        until("all pods are back", Duration::from_secs(120), async || {
            Ok((ready_pods(&fleet.objects(&namespace, "pods").await?).len() == 4).then_some(()))
        })
        .await?;
        works_again(&tenant, &format!("after-{pod}")).await?;
    }
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}
