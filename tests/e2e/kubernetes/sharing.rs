use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::api_proxy::ApiProxy;
use e2e::cloud::Cloud;
use e2e::fleet::{Fleet, ready_pods};
use e2e::region::Region;
use e2e::wait::until;
use time::OffsetDateTime;
use uuid::Uuid;

/// More than the slack that a fair share has, so that both get some.
const CLUSTERS: i32 = 6;
/// Seconds that a lease lasts, and what a busy machine may add.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30 + 15);
const OWNED: &str = "resourcequotas,limitranges,networkpolicies,serviceaccounts,configmaps,secrets,statefulsets,services,\
                     poddisruptionbudgets,rolebindings,pods,persistentvolumeclaims";

/// Who works on which clusters.
async fn holders(cloud: &Cloud, clusters: &[Uuid]) -> anyhow::Result<BTreeMap<Uuid, BTreeSet<Uuid>>> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "SELECT holder, cluster_id FROM leases WHERE cluster_id = ANY($1) AND expires_at > now()",
    )
    .bind(clusters)
    .fetch_all(&mut cloud.database().await?)
    .await?;
    let mut holders: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
    for (holder, cluster) in rows {
        holders.entry(holder).or_default().insert(cluster);
    }
    Ok(holders)
}

/// Every object of these clusters with its version, once all pods are ready.
async fn versions(clusters: &[Uuid]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for cluster in clusters {
        let namespace = Fleet::namespace(&cluster.to_string());
        let objects = Fleet::shared()?.objects(&namespace, OWNED).await?;
        ensure!(ready_pods(&objects) == ["main-0", "sc-0"], "pods of {namespace} are not ready");
        for each in objects {
            let name = format!("{namespace} {} {}", each["kind"], each["metadata"]["name"]);
            all.insert(name, each["metadata"]["resourceVersion"].to_string());
        }
    }
    Ok(all)
}

/// The versions once they stand still.
async fn settled(clusters: &[Uuid]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut last = BTreeMap::new();
    until("nothing changes any more", Duration::from_secs(120), async || {
        let now = versions(clusters).await?;
        let still = now == last;
        last = now;
        Ok(still.then(|| last.clone()))
    })
    .await
}

async fn proxy(cloud: &Cloud, name: &str) -> anyhow::Result<(ApiProxy, std::path::PathBuf)> {
    let fleet = Fleet::shared()?;
    let proxy = ApiProxy::start(fleet.kubeconfig(), fleet.host_address()).await?;
    let kubeconfig = cloud.state().join(format!("{name}.kubeconfig"));
    proxy.write_kubeconfig(&kubeconfig)?;
    Ok((proxy, kubeconfig))
}

/// Waits until two provisioners are there, and then until each has said so again: it counted the other.
async fn until_both_know(cloud: &Cloud) -> anyhow::Result<()> {
    let mut database = cloud.database().await?;
    let mut since: Option<OffsetDateTime> = None;
    until("two provisioners know of each other", Duration::from_secs(60), async || {
        let count = "SELECT count(*), now() FROM provisioners
                     WHERE region = 'shared' AND seen_at > coalesce($1, '-infinity')";
        let count = sqlx::query_as(count).bind(since).fetch_one(&mut database);
        let (count, now): (i64, OffsetDateTime) = count.await?;
        match (count, since) {
            (2, Some(_)) => Ok(Some(())),
            (2, None) => {
                since = Some(now);
                Ok(None)
            }
            _ => Ok(None),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_provisioners_share_a_region_and_one_takes_over_without_writing_anything_twice()
-> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("sharing", &[])?;
    let ((one_way, one_config), (other_way, other_config)) =
        (proxy(&cloud, "one").await?, proxy(&cloud, "other").await?);
    let one = Region::new(&cloud, "shared", Fleet::shared()?.site(one_config)).await?;
    let other = one.beside(&other_config)?;
    one.start()?;
    other.start()?;
    until_both_know(&cloud).await?;
    let clusters = one.want(&cloud, CLUSTERS, 1).await?;
    for cluster in &clusters {
        one.until_state(&cloud, *cluster, "running").await?;
    }
    until("each has its share", Duration::from_secs(60), async || {
        Ok((holders(&cloud, &clusters).await?.len() == 2).then_some(()))
    })
    .await?;
    assert!(one_way.changes() > 0 && other_way.changes() > 0, "both did some of the work");
    let before = settled(&clusters).await?;
    let shares: Vec<usize> = holders(&cloud, &clusters).await?.values().map(BTreeSet::len).collect();
    one.kill();
    let (killed, written, read) = (Instant::now(), other_way.changes(), other_way.reads());
    until("the other has taken over", TAKEN_OVER_WITHIN, async || {
        let holders = holders(&cloud, &clusters).await?;
        let all = holders.values().map(BTreeSet::len).collect::<Vec<_>>() == [clusters.len()];
        ensure!(all, "{holders:?}");
        Ok(Some(()))
    })
    .await
    .with_context(|| other.end_of_log())?;
    let took = killed.elapsed();
    // It looks at the Secrets of what it took: then it has been through all of them.
    until("it has looked at all", Duration::from_secs(60), async || {
        Ok((other_way.reads() >= read + clusters.len() as u64).then_some(()))
    })
    .await?;
    for cluster in &clusters {
        other.until_state(&cloud, *cluster, "running").await?;
    }
    let mut after = versions(&clusters).await?;
    after.retain(|name, version| before.get(name) != Some(version));
    assert!(after.is_empty(), "written again: {after:?}");
    assert_eq!(other_way.changes(), written, "a call that changes nothing was made: {:?}", other_way.calls());
    println!(
        "shares of {shares:?} clusters, taken over after {took:.1?}, {} objects unchanged",
        before.len()
    );
    for cluster in clusters {
        other.want_gone(&cloud, cluster).await?;
        other.until_gone(&cloud, cluster).await?;
    }
    Ok(())
}
