use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::apart::{Apart, Authority, INTERNAL};
use e2e::cloud::Cloud;
use e2e::disk::{Disk, cannot_mount};
use e2e::stream::{STEP_WITHIN, create_copied_topic, create_topic, produce, producer, read_all};
use e2e::wait::{until, within};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio::{Fluvio, FluvioAdmin, Isolation, TopicProducerPool};
use hyper::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A side that was not heard for five seconds is dead; the rest is the machine's.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// Eight seconds until an SPU is lost, and the machine's.
const MADE_AGAIN_WITHIN: Duration = Duration::from_secs(40);

/// Ten seconds until a disk that does not answer is taken for broken, and the machine's.
const LED_AGAIN_WITHIN: Duration = Duration::from_secs(30);

const TOPIC: &str = "apart";

async fn connect(apart: &Apart) -> anyhow::Result<(FluvioAdmin, Fluvio)> {
    let profile = apart.profile()?;
    let admin = within("admin", STEP_WITHIN, FluvioAdmin::connect_with_config(&profile)).await?;
    Ok((admin, within("client", STEP_WITHIN, Fluvio::connect_with_config(&profile)).await?))
}

async fn send(producer: &TopicProducerPool, from: u32, n: u32) -> anyhow::Result<()> {
    let values: Vec<Vec<u8>> = (from..from + n).map(|n| n.to_string().into_bytes()).collect();
    produce(producer, &values).await.map(drop)
}

/// Everything in both partitions.
async fn stored(client: &Fluvio) -> anyhow::Result<BTreeSet<u32>> {
    stored_in(client, 2).await
}

/// Everything in this many partitions.
async fn stored_in(client: &Fluvio, n_partitions: u32) -> anyhow::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for partition in 0..n_partitions {
        for record in read_all(client, TOPIC, partition, Isolation::ReadCommitted).await? {
            ensure!(found.insert(String::from_utf8(record.value)?.parse()?), "a record came twice");
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_whose_servers_meet_over_tcp_works_and_survives_each_of_them() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let mut apart = Apart::start(2).await?;
    let (admin, client) = connect(&apart).await?;
    create_topic(&admin, TOPIC, 2).await?;
    let to = producer(&client, TOPIC).await?;
    send(&to, 0, 100).await?;
    ensure!(stored(&client).await? == (0..100).collect());
    for server in ["sc", "main-0", "main-1"] {
        for path in ["/livez", "/readyz", "/metrics"] {
            let (status, body) = apart.probe(server, path).await?;
            ensure!(status == StatusCode::OK, "{server}{path}: {status}: {body}");
        }
        let (status, _) = apart.probe(server, "/v1/health").await?;
        ensure!(status == StatusCode::NOT_FOUND, "the probe of {server} shows more than it should");
    }

    apart.restart_sc().await?;
    apart.usable().await?;
    let (_, client) = connect(&apart).await?;
    ensure!(stored(&client).await? == (0..100).collect(), "after the SC's restart");

    // As a kubelet ends a pod, and what it says of itself before it goes.
    apart.process("main-1")?.signal(Signal::TERM)?;
    apart.wait_online("main-1", false, NOTICED_WITHIN).await?;
    let process = apart.process("main-1")?;
    until("it ended in order", Duration::from_secs(6), async || Ok((!process.is_alive()).then_some(())))
        .await?;
    apart.start_spu("main-1", "internal").await?;
    apart.usable().await?;
    let (_, client) = connect(&apart).await?;
    let to = producer(&client, TOPIC).await?;
    send(&to, 100, 100).await?;
    ensure!(stored(&client).await? == (0..200).collect(), "after the SPU's restart");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_sockets_know_strangers_by_their_certificates() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let mut apart = Apart::start(1).await?;
    let foreign = Authority::new()?.leaf(INTERNAL)?;
    let misnamed = apart.authority().leaf("internal.another.fluvio.test")?;
    for (who, leaf) in [("foreign CA", Some(&foreign)), ("another name", Some(&misnamed)), ("nobody", None)] {
        for socket in ["control", "link"] {
            let answer = apart.answer_to(socket, leaf).await;
            let error = answer.err().with_context(|| format!("{who} was answered at {socket}"))?;
            let tls = error.chain().any(|cause| cause.to_string().contains("received fatal alert"));
            ensure!(tls, "{who} at {socket}: not sent away for the certificate, but: {error:#}");
        }
    }
    let peer = apart.authority().leaf(INTERNAL)?;
    ensure!(apart.answer_to("control", Some(&peer)).await?.starts_with("HTTP/1.1 200"), "a peer is answered");

    // The same as SPUs: the settings name them, and still they do not become any.
    apart.write_identity("foreign", &foreign)?;
    apart.write_identity("misnamed", &misnamed)?;
    let spu = |id: i32, name: &str| json!({"id": id, "name": name});
    apart.push(vec![spu(5001, "main-0"), spu(5002, "main-1"), spu(5003, "main-2")]).await?;
    apart.start_spu("main-1", "foreign").await?;
    apart.start_spu("main-2", "misnamed").await?;
    for name in ["main-1", "main-2"] {
        until("it was refused and says so", STEP_WITHIN, async || {
            let (status, body) = apart.probe(name, "/readyz").await?;
            ensure!(
                status == StatusCode::SERVICE_UNAVAILABLE && body == "no settings yet\n",
                "{status}: {body}"
            );
            Ok(apart.log(name).contains("received fatal alert").then_some(()))
        })
        .await?;
    }
    let health = apart.health().await?;
    ensure!(health["reason"] == "not registered: main-1, main-2", "{health}");
    // With the right certificate the same SPU is taken in.
    apart.take_away("main-1");
    apart.start_spu("main-1", "internal").await?;
    apart.wait_online("main-1", true, NOTICED_WITHIN).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_noticed_and_taken_back() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let apart = Apart::start(2).await?;
    let (admin, client) = connect(&apart).await?;
    create_topic(&admin, TOPIC, 2).await?;
    let to = producer(&client, TOPIC).await?;
    send(&to, 0, 100).await?;

    apart.freeze("main-1")?;
    let noticed = apart.wait_online("main-1", false, NOTICED_WITHIN).await?;
    println!("a hanging SPU was offline after {noticed:?}");
    ensure!(noticed > Duration::from_secs(2), "somebody gives up on an SPU too soon: after {noticed:?}");
    let spus = within("the list of SPUs", STEP_WITHIN, admin.list::<SpuSpec, String>(Vec::new())).await?;
    let offline: Vec<_> = spus.iter().filter(|spu| !spu.status.is_online()).map(|spu| &spu.name).collect();
    ensure!(offline == ["main-1"], "clients see {offline:?} offline");
    apart.thaw("main-1")?;
    let back = apart.wait_online("main-1", true, NOTICED_WITHIN).await?;
    println!("and online {back:?} after it went on");

    // The other way round: the SPU says that it has no SC, and finds it again.
    apart.freeze("sc")?;
    until("the SPU notices", NOTICED_WITHIN, async || {
        let (status, body) = apart.probe("main-0", "/readyz").await?;
        Ok((status == StatusCode::SERVICE_UNAVAILABLE && body.starts_with("not registered")).then_some(()))
    })
    .await?;
    apart.thaw("sc")?;
    apart.usable().await?;
    let (_, client) = connect(&apart).await?;
    let to = producer(&client, TOPIC).await?;
    send(&to, 100, 100).await?;
    ensure!(stored(&client).await? == (0..200).collect());
    Ok(())
}

/// Who leads the only partition, and how many copies are in sync.
async fn led(admin: &FluvioAdmin) -> anyhow::Result<(i32, u32)> {
    let found = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
    let found = found.iter().find(|found| found.name.starts_with(TOPIC)).context("no partition")?;
    Ok((found.spec.leader, found.status.lsr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_gives_the_lead_away_and_is_in_sync_again_afterwards() -> anyhow::Result<()>
{
    if let Some(reason) = cannot_mount() {
        println!("not run: {reason}");
        return Ok(());
    }
    let _turn = Cloud::turn().await;
    let disks = [(); 3].map(|()| Disk::make(256 << 20));
    let disks = disks.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let apart = Apart::start_on_disks(&disks).await?;
    let (admin, client) = connect(&apart).await?;
    create_copied_topic(&admin, TOPIC, 1, 3).await?;
    let to = producer(&client, TOPIC).await?;
    send(&to, 0, 100).await?;
    let (leader, _) = led(&admin).await?;
    let disk = &disks[usize::try_from(leader - 5001)?];
    disk.hang()?;
    // What waits for that disk may be stored or not; who sends it hears so, or that it is.
    let waiting = tokio::spawn(async move { send(&to, 100, 100).await });
    until("another leads", LED_AGAIN_WITHIN, async || Ok((led(&admin).await?.0 != leader).then_some(())))
        .await?;
    let (_, client) = connect(&apart).await?;
    send(&producer(&client, TOPIC).await?, 200, 100).await.context("without the disk")?;
    disk.answer()?;
    within("what waited has an answer", STEP_WITHIN, waiting).await?.ok();
    until(
        "all copies are in sync again",
        STEP_WITHIN,
        async || Ok((led(&admin).await?.1 == 3).then_some(())),
    )
    .await
    .with_context(|| apart.logs())?;
    let stored = stored_in(&client, 1).await?;
    ensure!((0..100).chain(200..300).all(|number| stored.contains(&number)), "a record is lost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_spu_leaves_once_what_it_held_has_moved() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let mut apart = Apart::start(2).await?;
    let (admin, client) = connect(&apart).await?;
    create_topic(&admin, TOPIC, 2).await?;
    create_copied_topic(&admin, "everywhere", 1, 2).await?;
    send(&producer(&client, TOPIC).await?, 0, 10).await?;
    let held = |health: &Value| [0, 1].map(|n| health["spus"][n]["replicas"].as_u64());
    // Of the consumers' offsets, too, both have a copy.
    let health = apart.health().await?;
    ensure!(held(&health) == [Some(3), Some(3)], "{health}");

    let first = json!({"id": 5001, "name": "main-0", "rack": "a"});
    let leaving = json!({"id": 5002, "name": "main-1", "rack": "b", "leaving": true});
    apart.push(vec![first.clone(), leaving.clone()]).await?;
    let spus = within("the list of SPUs", STEP_WITHIN, admin.list::<SpuSpec, String>(Vec::new())).await?;
    let racks: BTreeSet<_> = spus.iter().filter_map(|spu| spu.spec.rack.as_deref()).collect();
    ensure!(racks == BTreeSet::from(["a", "b"]), "clients see the racks {racks:?}");
    create_topic(&admin, "later", 3).await?;
    until("all has moved but what needs two SPUs", STEP_WITHIN, async || {
        let health = apart.health().await?;
        ensure!(held(&health) == [Some(7), Some(1)], "{health}");
        Ok(Some(()))
    })
    .await?;

    let (status, body) = apart.push(vec![first.clone()]).await?;
    ensure!(
        status == StatusCode::BAD_REQUEST && body.contains("SPU main-1 still holds 1 partition"),
        "{status}: {body}"
    );
    send(&producer(&client, TOPIC).await?, 10, 10).await.context("refused settings change nothing")?;
    within("the topic is deleted", STEP_WITHIN, admin.delete::<TopicSpec>("everywhere".to_string())).await?;
    let (status, body) = apart.push(vec![first]).await?;
    ensure!(status == StatusCode::NO_CONTENT, "{status}: {body}");
    apart.take_away("main-1");
    apart.usable().await?;
    let (_, client) = connect(&apart).await?;
    ensure!(stored(&client).await? == (0..20).collect(), "a record did not move");
    let to = producer(&client, "later").await?;
    send(&to, 0, 10).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_spus_copies_are_made_again_on_those_that_are_left() -> anyhow::Result<()> {
    let _turn = Cloud::turn().await;
    let mut apart = Apart::start(4).await?;
    let (admin, client) = connect(&apart).await?;
    create_copied_topic(&admin, TOPIC, 2, 3).await?;
    send(&producer(&client, TOPIC).await?, 0, 100).await?;
    let lost = 5004;
    let whole_without = async |lost: i32| {
        let found = within("partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
        let whole = |spec: &PartitionSpec| spec.replicas.len() == 3 && !spec.replicas.contains(&lost);
        anyhow::Ok(found.iter().all(|found| whole(&found.spec) && found.status.lsr == 3))
    };
    ensure!(!whole_without(lost).await?, "the SPU has nothing that could be lost");
    apart.take_away("main-3");
    until("all is whole without it", MADE_AGAIN_WITHIN, async || {
        Ok(whole_without(lost).await?.then_some(()))
    })
    .await?;

    // It counts: with one more away, two of three still have everything.
    apart.take_away("main-0");
    apart.wait_online("main-0", false, NOTICED_WITHIN).await?;
    let (_, client) = connect(&apart).await?;
    send(&producer(&client, TOPIC).await?, 100, 100).await?;
    ensure!(stored(&client).await? == (0..200).collect());

    // Both come back, and what they had has not become anybody's truth.
    apart.start_spu("main-3", "internal").await?;
    apart.start_spu("main-0", "internal").await?;
    apart.usable().await?;
    let (_, client) = connect(&apart).await?;
    ensure!(stored(&client).await? == (0..200).collect());
    Ok(())
}
