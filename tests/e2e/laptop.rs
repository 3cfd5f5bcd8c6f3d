use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use e2e::laptop::Laptop;
use e2e::node::{Node, Owner};
use e2e::programs;
use e2e::stream::{STEP_WITHIN, create_copied_topic, create_topic, produce, producer, read_all};
use e2e::wait::{until, within};
use fluvio::config::TlsPolicy;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::{Fluvio, FluvioAdmin, Isolation};

fn values(from: usize, to: usize) -> Vec<Vec<u8>> {
    (from..to).map(|n| format!("record {n}").into_bytes()).collect()
}

async fn read_values(laptop: &Laptop, topic: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let read = read_all(&laptop.client().await?, topic, 0, Isolation::ReadCommitted).await?;
    Ok(read.into_iter().map(|record| record.value).collect())
}

/// The SPU that leads a topic's first partition.
async fn leader(admin: &FluvioAdmin, topic: &str) -> anyhow::Result<String> {
    let all = within("the partitions", STEP_WITHIN, admin.all::<PartitionSpec>()).await?;
    let found = all.iter().find(|each| each.name == format!("{topic}-0")).context("a partition")?;
    Ok(format!("main-{}", found.spec.leader - 5001))
}

/// Local addresses on which anybody listens at this port, as the kernel writes them.
fn listeners(port: u16) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (address, at) = fields[1].split_once(':').context("an address")?;
            if fields[3] == "0A" && u16::from_str_radix(at, 16)? == port {
                found.push(address.to_string());
            }
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_started_cluster_is_used_by_the_published_client_and_by_ours() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    let said = laptop.start(&[]).await?;
    assert!(said.text().contains("next: fluvio topic create"), "{}", said.text());
    let profile = laptop.profile()?;
    assert!(matches!(profile.tls, TlsPolicy::Disabled));
    assert!(profile.endpoint.starts_with("localhost:"), "{}", profile.endpoint);

    create_topic(&laptop.admin().await?, "theirs", 1).await?;
    let client = laptop.client().await?;
    produce(&producer(&client, "theirs").await?, &values(0, 100)).await?;
    let read = laptop.fluvio(&["consume", "theirs", "-B", "-d"]).await?.succeed()?;
    assert_eq!(read.text().lines().count(), 100);
    laptop.fluvio(&["topic", "create", "ours"]).await?.succeed()?;
    laptop.fluvio_with(&["produce", "ours"], b"one\ntwo\n").await?.succeed()?;
    assert_eq!(read_values(&laptop, "ours").await?, [b"one", b"two"]);
    let read = laptop.fluvio(&["consume", "ours", "-B", "-d"]).await?.succeed()?;
    assert_eq!(read.text(), "one\ntwo\n");

    let (code, status) = laptop.status().await?;
    assert_eq!(
        (code, &status["state"], &status["topics"]),
        (Some(0), &"running".into(), &2.into()),
        "{status}"
    );
    let spus = laptop.fluvio(&["cluster", "spu", "list", "-O", "json"]).await?.succeed()?;
    let spus: serde_json::Value = serde_json::from_slice(&spus.stdout)?;
    let port = spus[0]["public"].as_str().and_then(|public| public.rsplit(':').next()).context("a port")?;
    assert!(
        status["servers"][1]["address"].as_str().is_some_and(|address| address.ends_with(port)),
        "{spus}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_servers_listen_on_loopback_only_and_outlive_the_terminal() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&["--spu", "2"]).await?;
    let (_, status) = laptop.status().await?;
    let servers = status["servers"].as_array().context("servers")?;
    assert_eq!(servers.len(), 3);
    for server in servers {
        let port = server["address"].as_str().and_then(|address| address.rsplit(':').next());
        assert_eq!(listeners(port.context("a port")?.parse()?)?, ["0100007F"], "{server}");
        let pid = &server["pid"];
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().context("fields")?.split(' ').collect();
        assert_eq!(
            (fields[3], fields[4]),
            (pid.to_string().as_str(), "0"),
            "a session of its own, no terminal"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_says_that_it_runs_and_changes_nothing() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&[]).await?;
    let (_, before) = laptop.status().await?;
    laptop.fluvio(&["profile", "add", "other", "10.0.0.7:9003"]).await?.succeed()?;
    laptop.fluvio(&["profile", "switch", "other"]).await?.succeed()?;
    let again = laptop.fluvio(&["cluster", "start"]).await?.succeed()?;
    assert!(again.text().contains("is running already"), "{}", again.text());
    assert_eq!(laptop.status().await?.1["servers"], before["servers"]);
    laptop.profile()?;
    let more = laptop.fluvio(&["cluster", "start", "--spu", "2"]).await?.succeed()?;
    assert!(more.text().contains("started main-1"), "{}", more.text());
    let (code, after) = laptop.status().await?;
    assert_eq!((code, &after["servers"][0]), (Some(0), &before["servers"][0]));
    let fewer = laptop.fluvio(&["cluster", "start", "--spu", "1"]).await?;
    assert_eq!(fewer.code, Some(2), "{}", fewer.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_still_there_after_shutdown_and_start() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    assert_eq!(laptop.status().await?.1["state"], "none");
    laptop.start(&[]).await?;
    let endpoint = laptop.profile()?.endpoint;
    create_topic(&laptop.admin().await?, "kept", 1).await?;
    produce(&producer(&laptop.client().await?, "kept").await?, &values(0, 1_000)).await?;
    laptop.fluvio(&["cluster", "shutdown"]).await?.succeed()?;
    assert!(laptop.servers().is_empty());
    let (code, status) = laptop.status().await?;
    assert_eq!(
        (code, &status["state"], &status["reason"]),
        (Some(1), &"stopped".into(), &serde_json::Value::Null)
    );
    let refused = laptop.fluvio(&["topic", "list"]).await?;
    assert!(refused.stderr.contains("fluvio cluster start"), "{}", refused.stderr);
    laptop.fluvio(&["cluster", "stop"]).await?.succeed()?;
    laptop.fluvio(&["cluster", "start"]).await?.succeed()?;
    assert_eq!(laptop.profile()?.endpoint, endpoint);
    assert_eq!(read_values(&laptop, "kept").await?, values(0, 1_000));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_copies_a_killed_spu_loses_nothing_and_start_starts_it_again() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&["--spu", "3"]).await?;
    let admin = laptop.admin().await?;
    create_copied_topic(&admin, "copied", 1, 3).await?;
    produce(&producer(&laptop.client().await?, "copied").await?, &values(0, 500)).await?;
    let killed = leader(&admin, "copied").await?;
    laptop.server(&killed).await?.kill()?;
    until("another SPU leads", Duration::from_secs(30), async || {
        Ok((leader(&admin, "copied").await? != killed).then_some(()))
    })
    .await?;
    assert_eq!(read_values(&laptop, "copied").await?, values(0, 500));
    produce(&producer(&laptop.client().await?, "copied").await?, &values(500, 600)).await?;

    let shown = laptop.fluvio(&["cluster", "status"]).await?;
    assert_eq!(shown.code, Some(1));
    assert!(shown.text().contains(&format!("degraded: not running: {killed}")), "{}", shown.text());
    assert!(shown.text().contains("died"), "{}", shown.text());
    let started = laptop.fluvio(&["cluster", "start"]).await?.succeed()?;
    assert!(started.text().contains(&format!("started {killed}")), "{}", started.text());
    let (code, status) = laptop.status().await?;
    assert_eq!((code, &status["state"]), (Some(0), &"running".into()), "{status}");
    assert_eq!(read_values(&laptop, "copied").await?, values(0, 600));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_died_with_its_machine_starts_with_every_acknowledged_record() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&[]).await?;
    create_topic(&laptop.admin().await?, "kept", 1).await?;
    produce(&producer(&laptop.client().await?, "kept").await?, &values(0, 300)).await?;
    for server in laptop.servers() {
        server.kill()?;
    }
    let (code, status) = laptop.status().await?;
    assert_eq!((code, &status["state"]), (Some(1), &"stopped".into()));
    assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("servers died")), "{status}");
    laptop.fluvio(&["cluster", "start"]).await?.succeed()?;
    assert_eq!(read_values(&laptop, "kept").await?, values(0, 300));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_else_has_is_named_with_a_way_out() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let refused = laptop.fluvio(&["cluster", "start", "--port", &port]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains(&format!("{port} is taken by another program")), "{}", refused.stderr);
    assert!(refused.stderr.contains("fix:") && refused.stderr.contains("--port"), "{}", refused.stderr);
    assert!(laptop.servers().is_empty() && !laptop.profile_path().exists());
    let checked = laptop.fluvio(&["cluster", "check", "--port", &port]).await?;
    assert_eq!(checked.code, Some(1));
    assert!(checked.text().contains("FAILED  port of sc"), "{}", checked.text());
    drop(taken);
    laptop.fluvio(&["cluster", "check", "--port", &port]).await?.succeed()?;
    laptop.fluvio(&["cluster", "start", "--port", &port]).await?.succeed()?;
    let checked = laptop.fluvio(&["cluster", "check"]).await?.succeed()?;
    assert!(checked.text().contains("in use by this cluster"), "{}", checked.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_asks_first_and_then_leaves_no_process_no_file_and_no_profile() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    let data = laptop.home.path().join("records").display().to_string();
    laptop.start(&["--spu", "2", "--data", &data]).await?;
    laptop.fluvio(&["topic", "create", "gone"]).await?.succeed()?;
    assert!(laptop.home.path().join("records/sc").is_dir());
    let unasked = laptop.fluvio(&["cluster", "delete"]).await?;
    assert_eq!(unasked.code, Some(2), "{}", unasked.stderr);
    assert!(unasked.stderr.contains("fluvio cluster delete --yes"), "{}", unasked.stderr);
    assert_eq!(laptop.servers().len(), 3);

    laptop.fluvio(&["cluster", "delete", "--yes"]).await?.succeed()?;
    assert!(laptop.servers().is_empty());
    assert!(!laptop.folder().exists() && !laptop.home.path().join("records").exists());
    let profiles = std::fs::read_to_string(laptop.profile_path())?;
    assert!(!profiles.contains("local") && !profiles.contains("current_profile"), "{profiles}");
    for again in [["cluster", "delete"], ["cluster", "shutdown"]] {
        let ran = laptop.fluvio(&again).await?.succeed()?;
        assert!(ran.text().contains("there is no local cluster"), "{}", ran.text());
    }
    laptop.start(&[]).await?;
    assert!(!laptop.fluvio(&["topic", "list"]).await?.succeed()?.text().contains("gone"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_and_a_folder_that_are_somebody_elses_are_kept() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.fluvio(&["profile", "add", "local", "10.0.0.7:9003"]).await?.succeed()?;
    let before = std::fs::read_to_string(laptop.profile_path())?;
    let refused = laptop.fluvio(&["cluster", "start", "--port", "0"]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("fluvio profile rename local"), "{}", refused.stderr);
    laptop.fluvio(&["cluster", "delete", "--yes"]).await?.succeed()?;
    assert_eq!(std::fs::read_to_string(laptop.profile_path())?, before);
    laptop.fluvio(&["profile", "rename", "local", "far"]).await?.succeed()?;

    let folder = laptop.home.path().join("papers");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("thesis"), "mine")?;
    let named = folder.display().to_string();
    let refused = laptop.fluvio(&["cluster", "start", "--port", "0", "--data", &named]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("not of this cluster"), "{}", refused.stderr);
    assert!(laptop.servers().is_empty());
    assert_eq!(std::fs::read_to_string(folder.join("thesis"))?, "mine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_run_says_why_where_it_was_started() -> anyhow::Result<()> {
    let laptop = Laptop::new()?;
    laptop.start(&[]).await?;
    laptop.fluvio(&["cluster", "shutdown"]).await?.succeed()?;
    let folder = laptop.folder().join("data/main-0");
    std::fs::rename(&folder, laptop.folder().join("away"))?;
    std::fs::write(&folder, "not a folder")?;
    let refused = laptop.fluvio(&["cluster", "start"]).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("main-0 ended at once"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("cannot start the SPU") && refused.stderr.contains("fix:"),
        "{}",
        refused.stderr
    );
    std::fs::remove_file(&folder)?;
    std::fs::rename(laptop.folder().join("away"), &folder)?;
    laptop.fluvio(&["cluster", "start"]).await?.succeed()?;
    assert_eq!(laptop.status().await?.0, Some(0));
    Ok(())
}

#[test]
fn a_server_refuses_plaintext_on_any_other_address_than_loopback() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    for elsewhere in ["0.0.0.0:0", "[::]:0", "192.168.1.7:0", "localhost:0"] {
        let text = format!(
            "role_dir_data = {:?}\ntenant = \"{1}\"\ncluster = \"{1}\"\n[sc]\npublic = [\"tcp+plain:{elsewhere}\"]\n\
             control = \"unix:{2}\"\nlink = \"unix:{2}2\"\n",
            at("data"),
            "6f1c7a52-0d4e-4a57-9f5a-0d8a3c0e9f01",
            at("sock").display(),
        );
        std::fs::write(at("sc.toml"), text)?;
        let mut server = Command::new(programs::program("fluvio-cluster")?);
        let ran = server.args(["sc", "--config"]).arg(at("sc.toml")).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{elsewhere}: {said}");
        assert!(said.contains("without TLS a server listens on loopback only"), "{elsewhere}: {said}");
    }
    assert!(!at("data").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_tls_takes_no_settings_without_it() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let owner = Owner::new()?;
    let node = Node::start(&owner, data.path(), 1, "disk").await?;
    let without = |settings: &mut serde_json::Value| {
        let fields = settings.as_object_mut().expect("an object");
        fields.remove("identity");
    };
    let (status, said) = node.push(2, without).await?;
    assert!(status == 400 && said.contains("a cluster with TLS keeps it"), "{status}: {said}");
    within("the client connects", STEP_WITHIN, Fluvio::connect_with_config(&node.profile())).await?;
    drop(node);
    // Nor after a restart, from what it keeps on disk.
    let node = Node::start(&owner, data.path(), 3, "disk").await?;
    let (status, said) = node.push(4, without).await?;
    assert!(status == 400 && said.contains("a cluster with TLS keeps it"), "{status}: {said}");
    within("the client connects", STEP_WITHIN, Fluvio::connect_with_config(&node.profile())).await?;
    Ok(())
}
