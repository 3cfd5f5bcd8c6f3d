//! Processes, whatever dies: a cluster's, the provisioner, Postgres.

mod world;

use rustix::process::Signal;
use world::{World, kill};

#[tokio::test]
async fn a_killed_process_is_back_and_counted() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    for round in 1..=3_i64 {
        let before = world.processes(cluster);
        kill(before[0].1);
        world
            .until("a new process runs", async || {
                let now = world.processes(cluster);
                now.len() == 1 && now != before
            })
            .await;
        let counted =
            "SELECT restarts::bigint FROM cluster_status WHERE cluster_id = $1 AND state = 'running'";
        world
            .until("it is counted", async || {
                let rows =
                    sqlx::query_scalar::<_, i64>(counted).bind(cluster).fetch_optional(&world.owner).await;
                rows.unwrap() == Some(round)
            })
            .await;
    }
    let told = "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND last_error = 'node was ended by signal 9'";
    assert_eq!(world.one(told, cluster).await, 1);
}

#[tokio::test]
async fn a_new_provisioner_adopts_what_runs_and_starts_nothing_twice() {
    let mut world = World::new().await;
    let cluster = world.cluster("blue", 3).await;
    world.until_state(cluster, "running").await;
    let before = world.processes(cluster);
    assert_eq!(before.len(), 4);
    for signal in [Signal::TERM, Signal::KILL] {
        world.end(signal);
        assert_eq!(world.processes(cluster), before, "clusters outlive their provisioner");
        world.start();
        // Proof that the new one is at work.
        let other = world.cluster(if signal == Signal::TERM { "red" } else { "green" }, 1).await;
        world.until_state(other, "running").await;
        assert_eq!(world.processes(cluster), before);
    }
    // An adopted process is watched like a child.
    kill(before[0].1);
    world.until("it is started again", async || world.processes(cluster).len() == 4).await;
}

#[tokio::test]
async fn a_death_that_nobody_saw_is_found() {
    let mut world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    world.end(Signal::KILL);
    kill(world.processes(cluster)[0].1);
    world.until("it is dead", async || world.processes(cluster).is_empty()).await;
    world.start();
    world.until("it runs again", async || world.processes(cluster).len() == 1).await;
    world.until_state(cluster, "running").await;
}

#[tokio::test]
async fn without_postgres_clusters_go_on_and_a_new_provisioner_still_restarts_them() {
    let mut world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    world.postgres.stop();
    let first = world.processes(cluster);
    kill(first[0].1);
    world
        .until("it runs again", async || {
            let now = world.processes(cluster);
            now.len() == 1 && now != first
        })
        .await;
    world.end(Signal::TERM);
    let second = world.processes(cluster);
    world.start();
    kill(second[0].1);
    world
        .until("it runs again under the new one", async || {
            let now = world.processes(cluster);
            now.len() == 1 && now != second
        })
        .await;
    world.postgres.run_server();
    let restarts =
        "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND state = 'running' AND restarts >= 2";
    world
        .until("the database hears of it", async || {
            let rows = sqlx::query_scalar::<_, i64>(restarts).bind(cluster).fetch_one(&world.owner).await;
            rows.is_ok_and(|count| count == 1)
        })
        .await;
}

#[tokio::test]
async fn a_crash_at_any_moment_of_creation_ends_in_one_cluster() {
    let mut world = World::new().await;
    for round in 0..6_u64 {
        let name = format!("c{round}");
        let cluster = world.cluster(&name, 1).await;
        // At a later moment each time, from the first row to the last.
        let moment = std::time::Instant::now() + std::time::Duration::from_millis(round * 40);
        world.until("the moment is there", async || std::time::Instant::now() >= moment).await;
        world.end(Signal::KILL);
        world.start();
        world.until_state(cluster, "running").await;
        assert_eq!(world.roles(cluster), ["node"]);
        let certificates =
            "SELECT count(*) FROM certificate_requests WHERE cluster_id = $1 AND state = 'pending'";
        assert_eq!(world.one(certificates, cluster).await, 0);
    }
}

#[tokio::test]
async fn what_is_left_of_a_cluster_without_a_row_is_ended() {
    let mut world = World::with("orphan_keep_seconds = 0").await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    world.end(Signal::KILL);
    world.sql("DELETE FROM clusters WHERE id = $1", cluster).await;
    world.start();
    world.until("its processes are gone", async || world.processes(cluster).is_empty()).await;
    world
        .until("its files are gone", async || {
            world.place(cluster).is_gone() && !world.shelf(cluster).exists()
        })
        .await;
}

#[tokio::test]
async fn the_data_of_a_cluster_without_a_row_is_kept_for_a_while() {
    let mut world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    world.sql("DELETE FROM clusters WHERE id = $1", cluster).await;
    world.until("its processes are gone", async || world.processes(cluster).is_empty()).await;
    world.end(Signal::TERM);
    assert!(world.settings(cluster).is_some());
}

#[tokio::test]
async fn an_embedded_cloud_stops_its_clusters_and_starts_them_again() {
    let mut world = World::with("stop_clusters_on_exit = true").await;
    let (one, three) = (world.cluster("blue", 1).await, world.cluster("red", 3).await);
    world.until_state(one, "running").await;
    world.until_state(three, "running").await;
    world.end(Signal::TERM);
    assert!(world.processes(one).is_empty() && world.processes(three).is_empty());
    world.postgres.stop();
    world.start();
    world
        .until("they run again", async || {
            world.processes(one).len() == 1 && world.processes(three).len() == 4
        })
        .await;
    world.postgres.run_server();
}

#[tokio::test]
async fn two_provisioners_do_not_share_a_state() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_provisioner"))
        .args(["serve", "--config"])
        .arg(world.folder.path().join("provisioner.toml"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another provisioner"));
    assert_eq!(world.roles(cluster), ["node"]);
}
