use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use e2e::cloud::Cloud;
use e2e::oracle::Load;
use e2e::person::Person;
use e2e::stream::{STEP_WITHIN, create_copied_topic, produce, producer, read_all, works_again};
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use fluvio::consumer::{ConsumerConfigExtBuilder, ConsumerStream, OffsetManagementStrategy};
use fluvio::{Isolation, Offset};
use futures_util::StreamExt;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// A cluster of three SPUs.
async fn three(cloud: &Cloud) -> anyhow::Result<Tenant> {
    Tenant::with_cluster(Person::sign_up(cloud).await?, "three", 3).await
}

/// A cloud with such a cluster, and producers that write to all of it.
async fn loaded(name: &str) -> anyhow::Result<(Cloud, Tenant, Load)> {
    let cloud = Cloud::start(name, &[])?;
    let tenant = three(&cloud).await?;
    let load = Load::copied(&tenant, "copied", 3, 3).await?;
    Ok((cloud, tenant, load))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_spu_of_three_dies_under_load_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let (cloud, tenant, load) = loaded("copies-kill").await?;
    for round in 0..2 {
        for name in ["main-0", "main-1", "main-2"] {
            cloud.server(&tenant.cluster.id, name)?.kill()?;
            load.wait_for_more(300).await?;
            works_again(&tenant, &format!("after-{name}-{round}")).await?;
        }
    }
    cloud.server(&tenant.cluster.id, "sc")?.kill()?;
    load.wait_for_more(300).await?;
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_paused_acknowledges_nothing_when_it_wakes() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let (cloud, tenant, load) = loaded("copies-pause").await?;
    for name in ["main-0", "main-1", "main-2"] {
        let spu = cloud.server(&tenant.cluster.id, name)?;
        spu.signal(Signal::STOP)?;
        // The others go on as soon as it is sure that this one is away.
        let went_on = load.wait_for_more(300).await;
        spu.signal(Signal::CONT)?;
        went_on?;
        load.wait_for_more(300).await?;
    }
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_feels_that_the_sc_is_away_while_all_copies_are_in_sync() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let (cloud, tenant, load) = loaded("copies-sc").await?;
    let (sc, errors) = (cloud.server(&tenant.cluster.id, "sc")?, load.errors());
    sc.signal(Signal::STOP)?;
    let went_on = load.wait_for_more(3_000).await;
    sc.signal(Signal::CONT)?;
    went_on?;
    assert_eq!(load.errors(), errors, "a client felt that the SC was away");
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_of_a_cluster_dies_at_once_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let (cloud, tenant, load) = loaded("copies-all").await?;
    for _ in 0..3 {
        for process in cloud.cluster(&tenant.cluster.id) {
            process.signal(Signal::KILL)?;
        }
        load.wait_for_more(300).await?;
    }
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sc_loses_its_disk_under_load_and_all_topics_and_records_are_back() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("copies-sc-disk", &[])?;
    let tenant = three(&cloud).await?;
    create_copied_topic(&tenant.admin().await?, "quiet", 4, 2).await?;
    let client = tenant.client().await?;
    produce(&producer(&client, "quiet").await?, &[b"once".to_vec()]).await?;
    let load = Load::copied(&tenant, "copied", 3, 3).await?;
    for _ in 0..2 {
        let sc = cloud.server(&tenant.cluster.id, "sc")?;
        // Stopped first, so that it writes nothing into the folder that is emptied.
        sc.signal(Signal::STOP)?;
        std::fs::remove_dir_all(cloud.cluster_folder(&tenant.cluster.id).join("data/sc"))?;
        sc.kill()?;
        load.wait_for_more(300).await?;
        works_again(&tenant, &format!("after-{}", load.acknowledged())).await?;
    }
    let mut stored = 0;
    for partition in 0..4 {
        stored +=
            read_all(&tenant.client().await?, "quiet", partition, Isolation::ReadCommitted).await?.len();
    }
    assert_eq!(stored, 1);
    println!("{} acknowledged records are there", load.verify(&tenant).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumers_offset_outlives_the_spu_that_kept_it() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("copies-offsets", &[])?;
    let tenant = three(&cloud).await?;
    create_copied_topic(&tenant.admin().await?, "read", 1, 3).await?;
    let client = tenant.client().await?;
    let values: Vec<Vec<u8>> = (0..6).map(|number: u32| number.to_string().into_bytes()).collect();
    produce(&producer(&client, "read").await?, &values).await?;
    for (next, name) in [(0, "main-0"), (2, "main-1"), (4, "main-2")] {
        // A client that meets the SPU as it dies, or its leader as it changes, gets an error, and the next one goes on.
        until(&format!("two records before {name} is killed"), STEP_WITHIN, async || {
            read_two_and_commit(&tenant, next).await.map(Some)
        })
        .await?;
        cloud.server(&tenant.cluster.id, name)?.kill()?;
    }
    Ok(())
}

/// With a client that knows nothing but the consumer's name: two records from where it was, which is kept.
async fn read_two_and_commit(tenant: &Tenant, next: i64) -> anyhow::Result<()> {
    let mut builder = ConsumerConfigExtBuilder::default();
    builder.topic("read").partition(0).offset_start(Offset::beginning());
    builder.offset_consumer("reader").offset_strategy(OffsetManagementStrategy::Manual);
    let client = tenant.client().await?;
    let mut records = within("a stream", STEP_WITHIN, client.consumer_with_config(builder.build()?)).await?;
    for offset in next..next + 2 {
        let record = within("a record", STEP_WITHIN, async { anyhow::Ok(records.next().await) }).await?;
        let record = record.context("the stream ended")?.map_err(|code| anyhow::anyhow!("{code:?}"))?;
        assert_eq!(record.offset(), offset, "the consumer was at {next}");
    }
    records.offset_commit().await?;
    within("a commit", STEP_WITHIN, async { anyhow::Ok(records.offset_flush().await?) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_consumer_goes_on_by_itself_when_the_leader_dies() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("copies-read", &[])?;
    let tenant = three(&cloud).await?;
    create_copied_topic(&tenant.admin().await?, "read", 1, 3).await?;
    let client = tenant.client().await?;
    produce(&producer(&client, "read").await?, &[b"0".to_vec()]).await?;
    // Through an SPU that does not lead: whoever leads dies, and this connection stays.
    let mut builder = ConsumerConfigExtBuilder::default();
    builder.topic("read").partition(0).offset_start(Offset::beginning()).isolation(Isolation::ReadCommitted);
    let mut records = within("a stream", STEP_WITHIN, client.consumer_with_config(builder.build()?)).await?;
    let mut next = 0_u32;
    for name in ["main-1", "main-2", "main-0"] {
        if name != "main-0" {
            cloud.server(&tenant.cluster.id, name)?.kill()?;
        }
        until("a record more is stored", Duration::from_secs(60), async || {
            let client = tenant.client().await?;
            let before = read_all(&client, "read", 0, Isolation::ReadCommitted).await?.len();
            produce(&producer(&client, "read").await?, &[before.to_string().into_bytes()]).await.map(Some)
        })
        .await?;
        let stored = read_all(&tenant.client().await?, "read", 0, Isolation::ReadCommitted).await?;
        while usize::try_from(next)? < stored.len() {
            let Some(record) =
                within("a record", STEP_WITHIN, async { anyhow::Ok(records.next().await) }).await?
            else {
                anyhow::bail!("the stream ended before {next}, {name} was killed")
            };
            assert_eq!(record?.offset(), i64::from(next));
            next += 1;
        }
    }
    Ok(())
}

/// Lines that a producer is given while SPUs die.
const LINES: u32 = 12_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_produce_and_consume_go_on_and_every_line_comes_once_and_in_order() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("copies-own", &[])?;
    let tenant = three(&cloud).await?;
    tenant.fluvio(&["topic", "create", "own", "--replication", "3"]).await?.succeed()?;
    let mut consumer = tenant
        .command("fluvio")?
        .args(["consume", "own", "-B", "-n", &LINES.to_string(), "--isolation", "read_committed"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut shown = tokio::io::BufReader::new(consumer.stdout.take().expect("a pipe")).lines();
    let mut producer = tenant
        .command("fluvio")?
        .args(["produce", "own"])
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = producer.stdin.take().expect("a pipe");
    let mut next_shown = 0;
    for round in 0..6 {
        for number in round * LINES / 6..(round + 1) * LINES / 6 {
            lines.write_all(format!("{number}\n").as_bytes()).await?;
            // So that batches are on their way whenever an SPU dies.
            if number % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if number == round * LINES / 6 + LINES / 12 {
                cloud.server(&tenant.cluster.id, &format!("main-{}", round % 3))?.kill()?;
            }
        }
        let until_here = (round + 1) * LINES / 6;
        while next_shown < until_here {
            let line = within("a line", STEP_WITHIN, shown.next_line()).await?;
            assert_eq!(line.as_deref(), Some(next_shown.to_string().as_str()));
            next_shown += 1;
        }
    }
    drop(lines);
    let (produced, consumed) = tokio::join!(producer.wait(), consumer.wait());
    assert!(produced?.success() && consumed?.success());
    let stored = read_all(&tenant.client().await?, "own", 0, Isolation::ReadCommitted).await?;
    assert_eq!(stored.len(), usize::try_from(LINES)?, "a line was stored twice");
    Ok(())
}
