use anyhow::Context;
use e2e::api_proxy::{ApiProxy, Hearing, Moment};
use e2e::cloud::Cloud;
use e2e::fleet::Fleet;
use e2e::region::Region;
use e2e::wait::until;
use std::time::Duration;
use uuid::Uuid;

/// Crashes that every run tries.
const SAMPLED: u64 = 10;

/// A region on the shared node, whose provisioner reaches the API server through a proxy of the test's.
async fn region(cloud: &Cloud, name: &str) -> anyhow::Result<(Region, ApiProxy)> {
    region_on(cloud, name, Fleet::shared()?).await
}

/// The same on another node.
async fn region_on(cloud: &Cloud, name: &str, fleet: &Fleet) -> anyhow::Result<(Region, ApiProxy)> {
    let proxy = ApiProxy::start(fleet.kubeconfig(), fleet.host_address()).await?;
    let kubeconfig = cloud.state().join(format!("{name}.kubeconfig"));
    proxy.write_kubeconfig(&kubeconfig)?;
    let region = Region::new(cloud, name, fleet.site(kubeconfig)).await?;
    region.start()?;
    Ok((region, proxy))
}

/// What is there of a cluster: kinds and names, without what Kubernetes adds by itself.
async fn owned(cluster: Uuid) -> anyhow::Result<Vec<String>> {
    let namespace = Fleet::namespace(&cluster.to_string());
    let kinds = "resourcequotas,limitranges,networkpolicies,serviceaccounts,configmaps,secrets,statefulsets,services,\
                 poddisruptionbudgets,rolebindings,pods,persistentvolumeclaims";
    let mut names: Vec<String> = Fleet::shared()?
        .objects(&namespace, kinds)
        .await?
        .iter()
        .map(|each| (each["kind"].to_string(), each["metadata"]["name"].to_string()))
        // A Secret's name ends with the hash of what is in it.
        .map(|(kind, name)| {
            format!(
                "{kind} {}",
                if kind.contains("Secret") { name.split('-').next().unwrap_or("") } else { &name }
            )
        })
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisioner_killed_at_any_call_leaves_one_whole_cluster_or_none() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("crash-calls", &[])?;
    let (region, proxy) = region(&cloud, "crashing").await?;
    // Once without a crash: what a whole cluster is, and how many calls it takes.
    let first = region.want(&cloud, 1, 1).await?[0];
    region.until_state(&cloud, first, "running").await?;
    let whole = owned(first).await?;
    let creating = proxy.changes();
    region.want_gone(&cloud, first).await?;
    region.until_gone(&cloud, first).await?;
    println!("{creating} calls make a cluster: {:?}", proxy.calls());
    let mut survivors = Vec::new();
    for (call, moment) in crashes(creating) {
        let cluster = crash_once(&cloud, &region, &proxy, call, moment).await?;
        // What the killed one left behind, a Secret that nothing uses, is found when Secrets are looked at next.
        until("nothing is missing or left over", Duration::from_secs(120), async || {
            let found = owned(cluster).await?;
            anyhow::ensure!(found == whole, "killed {moment:?} call {call}: {found:?}");
            Ok(Some(()))
        })
        .await
        .with_context(|| region.end_of_log())?;
        survivors.push(cluster);
    }
    // At the end, so that the calls that are counted are those of one cluster.
    for cluster in &survivors {
        region.want_gone(&cloud, *cluster).await?;
    }
    for cluster in survivors {
        region.until_gone(&cloud, cluster).await?;
        let namespace = Fleet::namespace(&cluster.to_string());
        assert!(Fleet::shared()?.object("", "namespace", &namespace).await?.is_none());
    }
    Ok(())
}

/// Every call, before and after it, takes an hour: `FLUVIO_CLOUD_CRASHES=all`. Else a few, spread over all of them.
fn crashes(calls: u64) -> Vec<(u64, Moment)> {
    if std::env::var("FLUVIO_CLOUD_CRASHES").is_ok_and(|which| which == "all") {
        return (0..calls).flat_map(|call| [(call, Moment::Before), (call, Moment::After)]).collect();
    }
    let some = (0..SAMPLED).map(|nth| nth * calls / SAMPLED);
    some.zip([Moment::Before, Moment::After].into_iter().cycle()).collect()
}

async fn crash_once(
    cloud: &Cloud,
    region: &Region,
    proxy: &ApiProxy,
    call: u64,
    moment: Moment,
) -> anyhow::Result<Uuid> {
    proxy.crash_at(call, moment, region.killer());
    let cluster = region.want(cloud, 1, 1).await?[0];
    until_crashed(proxy).await?;
    region.end_leases(cloud).await?;
    region.start()?;
    region.until_state(cloud, cluster, "running").await?;
    Ok(cluster)
}

async fn until_crashed(proxy: &ApiProxy) -> anyhow::Result<()> {
    until("the provisioner is killed", Duration::from_secs(60), async || Ok(proxy.crashed().then_some(())))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_drop_double_or_swap_events_end_in_the_same_state() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("confused", &[])?;
    let (region, proxy) = region(&cloud, "confused").await?;
    for hearing in [Hearing::Doubles, Hearing::Swaps, Hearing::Drops] {
        proxy.hear(hearing);
        let cluster = region.want(&cloud, 1, 2).await?[0];
        region.until_state(&cloud, cluster, "running").await?;
        region.want_spus(&cloud, cluster, 1).await?;
        until("one SPU is left", Duration::from_secs(180), async || {
            let left = owned(cluster).await?;
            Ok((!left.iter().any(|name| name.contains("main-1"))).then_some(()))
        })
        .await
        .with_context(|| region.end_of_log())?;
        region.want_gone(&cloud, cluster).await?;
        region.until_gone(&cloud, cluster).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_is_cut_off_hurts_no_other_and_catches_up() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("two-regions", &[])?;
    let (near, _way) = region(&cloud, "near").await?;
    // A node and an API server of its own, as another region has them.
    let node = Fleet::further("far").await?;
    let (far, way) = region_on(&cloud, "far", &node).await?;
    let kept = far.want(&cloud, 1, 1).await?[0];
    far.until_state(&cloud, kept, "running").await?;
    way.cut(true);
    let meanwhile = near.want(&cloud, 1, 1).await?[0];
    let later = far.want(&cloud, 1, 1).await?[0];
    let namespace = |cluster: Uuid| Fleet::namespace(&cluster.to_string());
    assert!(node.object("", "namespace", &namespace(kept)).await?.is_some());
    assert!(Fleet::shared()?.object("", "namespace", &namespace(kept)).await?.is_none());
    near.until_state(&cloud, meanwhile, "running").await?;
    // What runs goes on, and is not called broken because nobody can look.
    far.until_state(&cloud, kept, "running").await?;
    way.cut(false);
    far.until_state(&cloud, later, "running").await?;
    for (region, cluster) in [(&near, meanwhile), (&far, kept), (&far, later)] {
        region.want_gone(&cloud, cluster).await?;
        region.until_gone(&cloud, cluster).await?;
    }
    Ok(())
}
