//! A cluster's life as its tenant sees it, with a stand-in for the cluster program.

mod world;

use serde_json::json;
use uuid::Uuid;
use world::World;

#[tokio::test]
async fn a_wanted_cluster_comes_up_and_a_settled_one_is_left_alone() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let ready = "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND ready_at IS NOT NULL
                 AND reason = '' AND observed_generation = 1 AND spus_ready = 1 AND storage_bytes = 42";
    assert_eq!(world.one(ready, cluster).await, 1);
    assert_eq!(world.one("SELECT count(*) FROM cluster_backends WHERE cluster_id = $1", cluster).await, 2);
    assert_eq!(world.roles(cluster), ["node"]);
    let settings = world.settings(cluster).unwrap();
    assert_eq!(settings["generation"], 1);
    assert_eq!(settings["spus"], json!([{"id": 5001, "name": "main-0"}]));
    assert_eq!(settings["public_endpoint"], json!({"host": "127.0.0.1", "port": 9443}));
    // Every row of what is, by the transaction that wrote it.
    let rows = "SELECT sum(xmin::text::bigint)::bigint FROM (
                  SELECT xmin FROM cluster_status WHERE cluster_id = $1 UNION ALL
                  SELECT xmin FROM cluster_backends WHERE cluster_id = $1 UNION ALL
                  SELECT xmin FROM clusters WHERE id = $1 UNION ALL
                  SELECT xmin FROM certificate_requests WHERE cluster_id = $1) AS rows";
    let before = world.one(rows, cluster).await;
    // Other clusters come and go, so the provisioner looks at everything again and again.
    for name in ["red", "green"] {
        let other = world.cluster(name, 1).await;
        world.until_state(other, "running").await;
    }
    assert_eq!(world.one(rows, cluster).await, before, "a settled cluster was written to");
}

#[tokio::test]
async fn a_change_of_access_reaches_the_cluster_without_a_restart() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let before = world.processes(cluster);
    let principal = world.principal(cluster).await;
    let entry = json!([{"principal": principal, "role": "user"}]);
    world
        .until("access is given", async || world.settings(cluster).unwrap()["access"]["entries"] == entry)
        .await;
    let serial = "INSERT INTO certificates (request_id, organisation_id, cluster_id, kind, serial, public_key_hash,
                    not_before, not_after)
                  VALUES (gen_random_uuid(), gen_random_uuid(), $1, 'client', '\\x00ab00000000000001', sha256(''),
                    now(), now() + interval '1 day')";
    world.sql(serial, cluster).await;
    world
        .sql("UPDATE certificates SET revoked_at = now() WHERE cluster_id = $1 AND kind = 'client'", cluster)
        .await;
    let revoked = json!(["ab00000000000001"]);
    world
        .until("the certificate is revoked", async || {
            world.settings(cluster).unwrap()["access"]["revoked_serials"] == revoked
        })
        .await;
    world.sql("UPDATE access_entries SET revoked_at = now() WHERE cluster_id = $1", cluster).await;
    world
        .until("access is taken", async || world.settings(cluster).unwrap()["access"]["entries"] == json!([]))
        .await;
    let in_force = "SELECT count(*) FROM cluster_status s JOIN clusters c ON c.id = s.cluster_id
                    WHERE c.id = $1 AND s.observed_generation = c.generation";
    world.until("the generation is reported", async || world.one(in_force, cluster).await == 1).await;
    assert_eq!(world.processes(cluster), before);
}

#[tokio::test]
async fn one_spu_becomes_three_on_the_same_data() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let mark = world.place(cluster).data().join("mark");
    std::fs::write(&mark, b"records").unwrap();
    world.sql("UPDATE clusters SET spus = 3, generation = generation + 1 WHERE id = $1", cluster).await;
    let three =
        "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND state = 'running' AND spus_ready = 3";
    world.until("three SPUs are up", async || world.one(three, cluster).await == 1).await;
    assert_eq!(world.roles(cluster), ["main-0", "main-1", "main-2", "sc"]);
    assert_eq!(world.one("SELECT count(*) FROM cluster_backends WHERE cluster_id = $1", cluster).await, 4);
    assert_eq!(std::fs::read(&mark).unwrap(), b"records");
    // Fewer would cost data: the cluster keeps what it has.
    world.sql("UPDATE clusters SET spus = 1, generation = generation + 1 WHERE id = $1", cluster).await;
    let seen = "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND observed_generation = 3";
    world.until("the change was seen", async || world.one(seen, cluster).await == 1).await;
    assert_eq!(world.roles(cluster).len(), 4);
}

#[tokio::test]
async fn a_deleted_cluster_can_be_brought_back_and_then_leaves_nothing() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let mark = world.place(cluster).data().join("mark");
    std::fs::write(&mark, b"records").unwrap();
    let delete =
        "UPDATE clusters SET deleted_at = now(), purge_after = now() + interval '1 day' WHERE id = $1";
    world.sql(delete, cluster).await;
    world.until_state(cluster, "deleted").await;
    assert!(world.processes(cluster).is_empty());
    assert_eq!(world.one("SELECT count(*) FROM cluster_backends WHERE cluster_id = $1", cluster).await, 0);
    world.sql("UPDATE clusters SET deleted_at = NULL, purge_after = NULL WHERE id = $1", cluster).await;
    world.until_state(cluster, "running").await;
    assert_eq!(std::fs::read(&mark).unwrap(), b"records");
    world.sql("UPDATE clusters SET deleted_at = now(), purge_after = now() WHERE id = $1", cluster).await;
    let row = "SELECT count(*) FROM clusters WHERE id = $1";
    world.until("the row is gone", async || world.one(row, cluster).await == 0).await;
    // What holds data is gone before the row is; what is only known about it, a moment later.
    assert!(world.place(cluster).is_gone());
    assert!(world.processes(cluster).is_empty());
    world.until("the bookkeeping is gone", async || !world.shelf(cluster).exists()).await;
    let users = std::fs::read_to_string(world.folder.path().join("state/users.json")).unwrap_or_default();
    assert!(!users.contains(&cluster.to_string()));
    for left in [
        "SELECT count(*) FROM certificate_authorities WHERE cluster_id = $1",
        "SELECT count(*) FROM certificate_requests WHERE cluster_id = $1",
        "SELECT count(*) FROM cluster_backends WHERE cluster_id = $1",
        "SELECT count(*) FROM leases WHERE cluster_id = $1",
    ] {
        assert_eq!(world.one(left, cluster).await, 0, "{left}");
    }
}

#[tokio::test]
async fn a_server_certificate_is_renewed_under_a_running_cluster() {
    let world = World::with("server_certificate_seconds = 60").await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let (processes, first) = (world.processes(cluster), world.settings(cluster).unwrap());
    // Nobody waits forty seconds: the certificate is made old instead.
    world
        .sql("UPDATE certificates SET not_after = now() + interval '10 s' WHERE cluster_id = $1", cluster)
        .await;
    let mut world = world;
    world.end(rustix::process::Signal::TERM);
    world.start();
    world
        .until("there is a new certificate", async || {
            let now = world.settings(cluster).unwrap();
            now["identity"]["certificate_pem"] != first["identity"]["certificate_pem"]
                && now["identity"]["key_pem"] != first["identity"]["key_pem"]
                && now["generation"].as_u64() > first["generation"].as_u64()
        })
        .await;
    assert_eq!(world.processes(cluster), processes, "without a restart");
}

#[tokio::test]
async fn a_cluster_with_newer_settings_than_the_database_gets_what_is_wanted_now() {
    let mut world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    world.end(rustix::process::Signal::TERM);
    // As after a restore of yesterday's database, or the loss of the provisioner's disk.
    let file = world.place(cluster).data().join("sc/settings.json");
    let mut settings = world.settings(cluster).unwrap();
    settings["generation"] = json!(1000);
    std::fs::write(&file, settings.to_string()).unwrap();
    std::fs::remove_dir_all(world.folder.path().join("state/clusters")).unwrap();
    for (_, pid) in world.processes(cluster) {
        world::kill(pid);
    }
    let principal = world.principal(cluster).await;
    world.start();
    world
        .until("the new principal is in force", async || {
            let now = world.settings(cluster).unwrap();
            now["access"]["entries"][0]["principal"] == json!(principal)
                && now["generation"].as_u64() > Some(1000)
        })
        .await;
    world.until_state(cluster, "running").await;
}

#[tokio::test]
async fn rules_reach_the_cluster_and_a_certificates_own_entry_goes_with_it() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let one = r#"WITH person AS (INSERT INTO users (email, password_hash) VALUES ('own@example.com', '') RETURNING id),
      entry AS (INSERT INTO access_entries (cluster_id, user_id, own, rules)
                SELECT $1, id, true, '[{"topics": "orders-*", "rights": ["produce"]}]' FROM person RETURNING principal_id)
      INSERT INTO certificates (request_id, organisation_id, cluster_id, kind, principal_id, serial, public_key_hash,
                                not_before, not_after)
      SELECT gen_random_uuid(), gen_random_uuid(), $1, 'client', principal_id, '\x0102030405060708', sha256(''), now(),
             now() + interval '1 day' FROM entry"#;
    world.sql(one, cluster).await;
    let rules = json!([{"topics": "orders-*", "rights": ["produce"]}]);
    let settings = || world.settings(cluster).unwrap();
    let has_rules = async || settings()["access"]["entries"][0]["rules"] == rules;
    world.until("the rules are in force", has_rules).await;
    assert_eq!(settings()["version"], 2);
    world
        .sql("UPDATE certificates SET revoked_at = now() WHERE cluster_id = $1 AND kind = 'client'", cluster)
        .await;
    let is_gone = async || settings()["access"]["revoked_serials"] == json!(["0102030405060708"]);
    world.until("the revocation is in force", is_gone).await;
    assert_eq!((&settings()["access"]["entries"], &settings()["version"]), (&json!([]), &json!(1)));
}

#[tokio::test]
async fn rates_are_in_the_settings_while_the_row_has_them() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let settings = || world.settings(cluster).unwrap();
    let plain = settings();
    assert_eq!((&plain["version"], plain["limits"].as_object().unwrap().len()), (&json!(1), 4));
    let limited =
        "UPDATE clusters SET rate_bytes_in = 1000, principal_bytes_out = 2000, principal_requests = 30,
                   principal_connections = 4, generation = generation + 1 WHERE id = $1";
    world.sql(limited, cluster).await;
    world.until("the limits are in force", async || settings()["version"] == 3).await;
    let limits = settings()["limits"].clone();
    assert_eq!(limits["rates"], json!({"bytes_in_per_second": 1000}));
    assert_eq!(limits["principal_rates"], json!({"bytes_out_per_second": 2000, "requests_per_second": 30}));
    assert_eq!(limits["principal_connections"], 4);
    let lifted =
        "UPDATE clusters SET rate_bytes_in = NULL, principal_bytes_out = NULL, principal_requests = NULL,
                  principal_connections = NULL, generation = generation + 1 WHERE id = $1";
    world.sql(lifted, cluster).await;
    world.until("they are gone", async || settings()["limits"] == plain["limits"]).await;
    assert_eq!(settings()["version"], 1);
}

#[tokio::test]
async fn a_cluster_that_cannot_start_says_so_and_holds_up_no_other() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    std::fs::write(world.place(cluster).data().join("die"), b"").unwrap();
    world::kill(world.processes(cluster)[0].1);
    world.until_state(cluster, "failed").await;
    let told = "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND reason <> ''
                AND last_error LIKE 'node ended with code 7%' AND restarts > 3";
    world.until("the reason is recorded", async || world.one(told, cluster).await == 1).await;
    let other = world.cluster("red", 1).await;
    world.until_state(other, "running").await;
    std::fs::remove_file(world.place(cluster).data().join("die")).unwrap();
    world.until_state(cluster, "running").await;
}

#[tokio::test]
async fn a_tenant_may_neither_look_nor_lead_outside_its_folder() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    world.until_state(cluster, "running").await;
    let place = world.place(cluster);
    for (path, mode) in
        [("", 0o710), ("data", 0o700), ("config", 0o700), ("run", 0o2710), ("config/node.toml", 0o400)]
    {
        let metadata = std::fs::metadata(place.path().join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{path:?}");
    }
    let pid = world.processes(cluster)[0].1;
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let environment = proc("environ");
    let mut names = environment.split_terminator('\0').map(|pair| pair.split('=').next().unwrap());
    assert!(names.all(|name| name.starts_with("MALLOC_")), "nothing is inherited: {environment}");
    assert!(proc("status").contains("NoNewPrivs:\t1"));
    assert!(proc("limits").lines().any(|line| line.starts_with("Max core file size        0 ")));
    if rustix::process::geteuid().is_root() {
        let user = std::fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        assert_ne!(user, 0);
        assert!(proc("status").contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}")));
        assert!(proc("status").lines().any(|line| line.trim_end() == "Groups:"), "{}", proc("status"));
        let other = world.cluster("red", 1).await;
        world.until_state(other, "running").await;
        for folder in
            [world.place(other).path(), world.place(other).data(), world.folder.path().join("state")]
        {
            let look = std::process::Command::new("setpriv")
                .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "ls"])
                .arg(&folder)
                .output()
                .unwrap();
            assert!(!look.status.success(), "{}", folder.display());
        }
    }
    // A log that is a link to somebody else's file is not followed.
    let victim = world.folder.path().join("victim");
    std::fs::write(&victim, b"untouched").unwrap();
    std::fs::remove_file(place.path().join("node.log")).unwrap();
    std::os::unix::fs::symlink(&victim, place.path().join("node.log")).unwrap();
    world::kill(pid);
    let error = "SELECT count(*) FROM cluster_status WHERE cluster_id = $1 AND last_error LIKE '%could not be started%'";
    world.until("it is not started with that log", async || world.one(error, cluster).await == 1).await;
    assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
}

#[tokio::test]
async fn a_taken_over_process_reaches_nothing_but_its_own_folder_even_without_root() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    let neighbour = world.cluster("red", 1).await;
    world.until_state(cluster, "running").await;
    world.until_state(neighbour, "running").await;
    let own = world.place(cluster).data().join("sc/settings.json").display().to_string();
    let foreign = world.place(neighbour).data().join("sc/settings.json").display().to_string();
    let outside = world.folder.path().join("outside").display().to_string();
    std::fs::write(&outside, b"for everybody").unwrap();
    std::fs::write(world.place(cluster).data().join("peek"), format!("{own} {foreign} {outside}")).unwrap();
    world::kill(world.processes(cluster)[0].1);
    let peeked = world.place(cluster).data().join("peeked");
    world.until("the process has tried", async || peeked.exists()).await;
    let tried: serde_json::Value = serde_json::from_slice(&std::fs::read(peeked).unwrap()).unwrap();
    assert_eq!(tried[&own], "read");
    for denied in [&foreign, &outside, "tcp"] {
        assert_eq!(tried[denied], "Permission denied", "{denied}: {tried}");
    }
    assert_eq!(tried["signal"], "Operation not permitted", "{tried}");
}

#[tokio::test]
async fn an_unknown_cluster_of_another_machine_is_not_touched() {
    let world = World::new().await;
    let cluster = world.cluster("blue", 1).await;
    let elsewhere: Uuid = world.cluster("red", 1).await;
    world.until_state(elsewhere, "running").await;
    world.until_state(cluster, "running").await;
    world.sql("UPDATE clusters SET host = 'elsewhere' WHERE id = $1", elsewhere).await;
    let third = world.cluster("green", 1).await;
    world.until_state(third, "running").await;
    assert_eq!(world.roles(elsewhere), ["node"]);
}
