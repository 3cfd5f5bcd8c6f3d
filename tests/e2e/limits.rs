use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use e2e::cloud::{Cloud, Limit};
use e2e::disk::{Disk, cannot_mount};
use e2e::hello;
use e2e::oracle::Load;
use e2e::person::Person;
use e2e::raw::{self, Cut};
use e2e::stream::{STEP_WITHIN, create_topic, produce, producer, read_all, whole_flow, works_again};
use e2e::tenant::Tenant;
use e2e::wait::{until, within};
use e2e::wire;
use fluvio::Isolation;
use fluvio::metadata::topic::TopicSpec;
use hyper::StatusCode;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_clusters_asked_for_at_once_the_quota_is_made() -> anyhow::Result<()> {
    let person = Person::sign_up(Cloud::shared()?).await?;
    person.first_cluster().await?;
    let body: Vec<_> = (0..20).map(|n| json!({"name": format!("c{n}")})).collect();
    let asked = body.iter().map(|body| {
        // Under load the portal may say that it is busy, which is for asking again.
        until("a decision", STEP_WITHIN, async || {
            let answer = person.api.post_json("/api/v1/clusters", body).await?;
            Ok((answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer))
        })
    });
    let answers = futures_util::future::join_all(asked).await;
    let mut made = 0;
    for answer in answers {
        let answer = answer?;
        match answer.status.as_u16() {
            201 => made += 1,
            status => assert!((400..500).contains(&status), "{status}: {}", answer.text()),
        }
    }
    // What is made as its answer is late is refused when it is asked for again.
    assert!(made <= 2, "{made} beside the first, of three in all");
    assert_eq!(person.clusters().await?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_beyond_the_quota_are_not_made() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    cloud.db_set_limit(&tenant.cluster.id, Limit::Partitions, 10).await?;
    let admin = tenant.admin().await?;
    create_topic(&admin, "six", 6).await?;
    let refused = create_topic(&admin, "five-more", 5).await;
    let said = format!("{:?}", refused.expect_err("eleven partitions with room for ten"));
    assert!(said.contains("10") || said.to_lowercase().contains("partition"), "{said}");
    create_topic(&admin, "four-more", 4).await?;
    within("deleted", STEP_WITHIN, admin.delete::<TopicSpec>("six".to_string())).await?;
    create_topic(&admin, "five-now", 5).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_fills_its_quota_is_stopped_and_the_others_go_on() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let (full, other) = (Tenant::new(cloud).await?, Tenant::new(cloud).await?);
    let load = Load::start(&other, "goes-on", 1).await?;
    cloud.db_set_limit(&full.cluster.id, Limit::Storage, 8 << 20).await?;
    let (admin, client) = (full.admin().await?, full.client().await?);
    create_topic(&admin, "filling", 1).await?;
    let block: Vec<Vec<u8>> = (0..100).map(|_| vec![1; 10_000]).collect();
    let (mut acknowledged, mut refusal) = (0, None);
    for _ in 0..40 {
        match produce(&producer(&client, "filling").await?, &block).await {
            Ok(offsets) => acknowledged = offsets.last().map_or(0, |last| last + 1),
            Err(error) => {
                refusal = Some(format!("{error:?}"));
                break;
            }
        }
    }
    let said = refusal.expect("40 MB went into 8 MiB");
    assert!(said.contains("PartitionFull") || said.to_lowercase().contains("full"), "{said}");
    // What was acknowledged is there, and can be read while nothing more can be written.
    let records = read_all(&client, "filling", 0, Isolation::ReadCommitted).await?;
    assert!(i64::try_from(records.len())? >= acknowledged, "{} of {acknowledged}", records.len());
    load.wait_for_more(500).await?;
    assert_eq!(load.errors(), 0, "the other tenant felt it");
    load.verify(&other).await?;
    // Room again after a deletion.
    within("deleted", STEP_WITHIN, admin.delete::<TopicSpec>("filling".to_string())).await?;
    works_again(&full, "room-again").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_filled_by_one_tenant_keeps_its_reserve_and_everybodys_records() -> anyhow::Result<()> {
    const RESERVE: u64 = 200 << 20;
    if let Some(reason) = cannot_mount() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let _turn = Cloud::turn().await;
    let disk = Disk::make(512 << 20)?;
    let reserve = RESERVE.to_string();
    let cloud = Cloud::start_in("full-disk", disk.folder("s"), &["--host-reserve-bytes", &reserve])?;
    let (greedy, other) = (Tenant::new(&cloud).await?, Tenant::new(&cloud).await?);
    create_topic(&other.admin().await?, "kept", 1).await?;
    let kept: Vec<Vec<u8>> = (0..100).map(|n| format!("kept {n}").into_bytes()).collect();
    produce(&producer(&other.client().await?, "kept").await?, &kept).await?;

    let (admin, client) = (greedy.admin().await?, greedy.client().await?);
    create_topic(&admin, "filling", 1).await?;
    let block: Vec<Vec<u8>> = (0..800).map(|_| vec![1; 10_000]).collect();
    let (mut acknowledged, mut refusal) = (0, None);
    for _ in 0..100 {
        match produce(&producer(&client, "filling").await?, &block).await {
            Ok(offsets) => acknowledged = offsets.last().map_or(0, |last| last + 1),
            Err(error) => {
                refusal = Some(format!("{error:?}"));
                break;
            }
        }
    }
    let said = refusal.expect("800 MB went onto a disk of 512 MiB");
    assert!(said.to_lowercase().contains("full") || said.to_lowercase().contains("storage"), "{said}");
    let free = disk.free()?;
    assert!(free > RESERVE * 8 / 10, "the reserve was eaten: {free} bytes are free");
    // What was acknowledged is there, for both; pages and logins go on, for they live on the reserve.
    let count = read_all(&client, "filling", 0, Isolation::ReadCommitted).await?.len();
    assert!(i64::try_from(count)? >= acknowledged, "{count} of {acknowledged}");
    let records = read_all(&other.client().await?, "kept", 0, Isolation::ReadCommitted).await?;
    assert!(records.iter().map(|record| &record.value).eq(&kept));
    Person::sign_up(&cloud).await?;
    // Room again, for everybody.
    within("deleted", STEP_WITHIN, admin.delete::<TopicSpec>("filling".to_string())).await?;
    works_again(&other, "room-again").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_quota_are_refused_and_the_others_go_on() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let (busy, other) = (Tenant::new(cloud).await?, Tenant::new(cloud).await?);
    cloud.db_set_limit(&busy.cluster.id, Limit::Connections, 20).await?;
    let who = busy.credentials()?;
    let config = raw::configuration(&who.ca, Some((&who.certificate, &who.key)))?;
    let open = || -> Option<raw::Stream> {
        let mut stream = raw::connect(cloud.gateway().ok()?, &who.domain, config.clone(), Cut::Whole).ok()?;
        wire::send(&mut stream, &wire::api_versions(1)).ok()?;
        wire::receive(&mut stream).ok()??;
        Some(stream)
    };
    let live: Vec<raw::Stream> = until("the quota is in force", Duration::from_secs(20), async || {
        let live: Vec<_> = (0..40).filter_map(|_| open()).collect();
        Ok((live.len() <= 20).then_some(live))
    })
    .await?;
    assert!(live.len() >= 10, "only {} of 20 were served", live.len());
    whole_flow(&other, "not-my-quota").await?;
    drop(live);
    until("there is room again", Duration::from_secs(20), async || Ok(open().map(drop))).await
}

/// A connection to the gateway from an address of loopback's network.
fn from(address: Ipv4Addr, to: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::from((address, 0)))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_half_open_connections_cost_little_and_hurt_nobody() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let _turn = Cloud::turn().await;
    let cloud = Cloud::start("half-open", &[])?;
    let tenant = Tenant::new(&cloud).await?;
    let load = Load::start(&tenant, "meanwhile", 1).await?;
    let had = getrlimit(Resource::Nofile);
    let wish =
        Rlimit { current: had.maximum.map(|most| most.min(30_000)).or(Some(30_000)), maximum: had.maximum };
    setrlimit(Resource::Nofile, wish)?;
    let room = usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(30_000))?;
    let wanted = 10_000.min(room.saturating_sub(1_000));
    if wanted < 10_000 {
        println!("only {wanted} connections: this process may open {room} files");
    }
    let gateway = cloud.program("gateway").pop().expect("a gateway");
    let before = gateway.rss()?;
    let half = hello::with_names(Some(&[tenant.cluster.domain.as_bytes()]));
    let half = half[..half.len() / 2].to_vec();
    let to = cloud.gateway()?;
    let flood = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<std::net::TcpStream>> {
        let mut open = Vec::new();
        for number in 0..wanted {
            // Two hundred addresses, so that no limit by address does all the work.
            let address = Ipv4Addr::new(127, 77, u8::try_from(number % 200)?, 1);
            // The gateway may refuse: that is one way to be unhurt.
            if let Ok(mut stream) = from(address, to) {
                let _ = stream.write_all(&half);
                open.push(stream);
            }
        }
        Ok(open)
    })
    .await??;
    println!("{} half-open connections were accepted by the kernel", flood.len());
    let most = gateway.rss()?;
    whole_flow(&tenant, "in-the-flood").await?;
    load.wait_for_more(200).await?;
    assert_eq!(load.errors(), 0, "a good client felt the flood");
    assert!(most.saturating_sub(before) < 300 << 20, "the gateway grew from {before} to {most}");
    // They are dropped, not kept.
    let fds =
        || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid)).map(Iterator::count).unwrap_or(usize::MAX);
    until("half-open connections are dropped", Duration::from_secs(60), async || {
        Ok((fds() < 500).then_some(()))
    })
    .await?;
    drop(flood);
    load.verify(&tenant).await?;
    assert_eq!(
        cloud.program("gateway").pop().map(|now| now.pid),
        Some(gateway.pid),
        "the gateway lived through it"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_never_reads_on_costs_bounded_memory() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    create_topic(&tenant.admin().await?, "unread", 1).await?;
    let client = tenant.client().await?;
    let writer = producer(&client, "unread").await?;
    let block: Vec<Vec<u8>> = (0..400).map(|_| vec![3; 10_000]).collect();
    for _ in 0..5 {
        produce(&writer, &block).await?;
    }
    let who = tenant.credentials()?;
    let rss = || -> anyhow::Result<u64> {
        let mut total = 0;
        for process in cloud.cluster(&tenant.cluster.id).iter().chain(&cloud.program("gateway")) {
            total += process.rss()?;
        }
        Ok(total)
    };
    let before = rss()?;
    let mut stuck = Vec::new();
    for number in 0..30 {
        let mut stream = raw::connect_as(cloud.gateway()?, &who, &format!("main-0.{}", who.domain))?;
        // Ask for much, on many streams, and read nothing.
        for each in 0..5 {
            wire::send(&mut stream, &wire::stream_fetch(number * 10 + each, "unread", 0, 0, 32 << 20))?;
        }
        stuck.push(stream);
    }
    produce(&writer, &block).await?;
    whole_flow(&tenant, "beside-the-stuck").await?;
    let after = rss()?;
    assert!(after.saturating_sub(before) < 400 << 20, "grew from {before} to {after} bytes");
    Ok(())
}
