use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::cloud::Cloud;
use e2e::disk::{Disk, cannot_mount};
use e2e::hammer::Hammer;
use e2e::node::{Node, Owner};
use e2e::stream::{STEP_WITHIN, create_topic, read_all};
use e2e::wait::within;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, Isolation};
use rand::RngExt;

const CUTS: u32 = 50;
const TOPIC: &str = "cut";

/// Cuts the power `cuts` times under load and compares. Returns how many records the last cut was checked for.
async fn campaign(durability: &str, cuts: u32) -> anyhow::Result<usize> {
    let disk = Disk::make(512 << 20)?;
    let owner = Owner::new()?;
    let node = Node::start(&owner, &disk.folder("data"), 1, durability).await?;
    let admin = within("admin", STEP_WITHIN, FluvioAdmin::connect_with_config(&node.profile())).await?;
    create_topic(&admin, TOPIC, 1).await?;
    let hammer = Hammer::start(&node, &owner, TOPIC)?;
    let mut topics = vec![TOPIC.to_string()];
    for cut in 0..cuts {
        // A metadata change between the records: a topic that was answered for is there afterwards, too.
        let name = format!("topic-{cut}");
        create_topic(&admin, &name, 1).await?;
        topics.push(name);
        let goal = hammer.acknowledged() + 20;
        hammer.reach(goal).await.with_context(|| node.log())?;
        // Faults come at any time.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..40))).await;
        node.freeze()?;
        let after = disk.cut();
        // Read before the thaw: acknowledgements that were on their way when the power went count as well.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let promised = hammer.acknowledged();
        let recovered = async {
            let after = after?;
            let second = Node::start(&owner, &after.folder("data"), 2, durability).await?;
            let client =
                within("the client", STEP_WITHIN, Fluvio::connect_with_config(&second.profile())).await?;
            let records = read_all(&client, TOPIC, 0, Isolation::ReadUncommitted).await?;
            hammer.check(&records)?;
            let listed = within("topics", STEP_WITHIN, client.admin().await.all::<TopicSpec>()).await?;
            for topic in &topics {
                ensure!(listed.iter().any(|each| each.name == *topic), "the topic {topic} is lost");
            }
            anyhow::Ok(())
        }
        .await;
        node.thaw()?;
        recovered.with_context(|| format!("cut {cut}, {promised} acknowledged records"))?;
    }
    let total = hammer.acknowledged();
    hammer.finish()?;
    Ok(total)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_power_cuts_lose_nothing_acknowledged() -> anyhow::Result<()> {
    if let Some(reason) = cannot_mount() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let _turn = Cloud::turn().await;
    let total = campaign("disk", CUTS).await?;
    println!("{CUTS} cuts, at the end of {total} acknowledged records: none lost, none altered, no hole");
    Ok(())
}

/// The same test on a cluster that acknowledges before it syncs, by its owner's choice: it must see the loss, or
/// it would not see it where it matters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_cut_test_sees_what_is_not_synced() -> anyhow::Result<()> {
    if let Some(reason) = cannot_mount() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let _turn = Cloud::turn().await;
    let error = campaign("memory", 10).await.expect_err("ten cuts without a sync lost nothing");
    let said = format!("{error:#}");
    assert!(said.contains("lost:"), "{said}");
    Ok(())
}
