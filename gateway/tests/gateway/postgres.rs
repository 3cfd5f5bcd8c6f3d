//! Routes and usage with a real database, started by the test.

use gateway::hello::refuse::REFUSAL;
use gateway::routes::TableFile;
use gateway::server::Running;
use sqlx::{AssertSqlSafe, PgPool, Row};
use test_postgres::Postgres;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::backends::Named;
use crate::support::hellos::real_hello;
use crate::support::{Folder, call, until, within};

async fn change(owner: &PgPool, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(owner).await.unwrap();
}

async fn add_cluster(owner: &PgPool, id: Uuid, label: &str, address: &str) {
    change(owner, "INSERT INTO organisations (id, name) VALUES (gen_random_uuid(), 'o')".into()).await;
    change(
        owner,
        format!(
            "INSERT INTO clusters (id, organisation_id, name, label, domain, runtime, region)
             SELECT '{id}', id, '{label}', '{label}', '{label}.test', 'process', 'local' FROM organisations LIMIT 1"
        ),
    )
    .await;
    change(owner, format!("INSERT INTO cluster_backends VALUES ('{id}', '', '{address}')")).await;
}

async fn is_known(running: &Running, name: &str) -> bool {
    running.gateway.routes.table().get(name).is_some()
}

async fn served(running: &Running, name: &str) -> TcpStream {
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello(name);
    client.write_all(&hello).await.unwrap();
    let mut echoed = vec![0; 6 + hello.len()];
    within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    client
}

fn use_database(folder: &Folder, database: &Postgres) {
    std::fs::write(folder.path("database-url"), database.url("cloud_gateway")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_follow_the_database_and_outlive_it() {
    let (folder, database) = (Folder::new(), Postgres::start().await);
    let _server = Named::at(folder.path("sc"), "tenant");
    use_database(&folder, &database);
    let owner = database.connect("postgres").await;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    add_cluster(&owner, one, "one", &folder.socket("sc")).await;

    let running = Running::start(folder.config("")).await.unwrap();
    assert!(is_known(&running, "one.test").await, "the first table is in force before the first client");
    add_cluster(&owner, two, "two", &folder.socket("sc")).await;
    until("a notification is heeded", async || is_known(&running, "two.test").await).await;
    let mut first = served(&running, "one.test").await;
    let mut second = served(&running, "two.test").await;
    change(&owner, format!("UPDATE clusters SET deleted_at = now(), purge_after = now() WHERE id = '{one}'"))
        .await;
    assert!(within("the cut", first.read(&mut [0; 1])).await.is_err(), "not a reset");
    until("the name is unknown", async || !is_known(&running, "one.test").await).await;
    let table = TableFile::new(folder.path("table"));
    until("the table is kept", async || table.read().is_ok_and(|kept| kept.clusters.len() == 1)).await;

    owner.close().await;
    database.stop();
    second.write_all(b"x").await.unwrap();
    within("the echo", second.read_exact(&mut [0; 1])).await.unwrap();
    served(&running, "two.test").await;
    running.stop().await;

    let running = Running::start(folder.config("")).await.unwrap();
    served(&running, "two.test").await;
    assert_eq!(call(running.address, &real_hello("one.test")).await.as_deref(), Some(&REFUSAL[..]));
    database.run_server();
    let owner = database.connect("postgres").await;
    change(&owner, format!("UPDATE clusters SET deleted_at = NULL, purge_after = NULL WHERE id = '{one}'"))
        .await;
    until("the database is followed again", async || is_known(&running, "one.test").await).await;
    served(&running, "one.test").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_clusters_of_its_region_that_do_not_rest_are_served() {
    let (folder, database) = (Folder::new(), Postgres::start().await);
    let _server = Named::at(folder.path("sc"), "tenant");
    use_database(&folder, &database);
    let owner = database.connect("postgres").await;
    let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
    add_cluster(&owner, here, "here", &folder.socket("sc")).await;
    add_cluster(&owner, there, "there", &folder.socket("sc")).await;
    change(&owner, format!("UPDATE clusters SET region = 'far' WHERE id = '{there}'")).await;

    let running = Running::start(folder.config("region = 'local'")).await.unwrap();
    assert!(is_known(&running, "here.test").await && !is_known(&running, "there.test").await);
    assert_eq!(call(running.address, &real_hello("there.test")).await.as_deref(), Some(&REFUSAL[..]));
    let mut client = served(&running, "here.test").await;
    change(&owner, format!("UPDATE clusters SET paused_at = now() WHERE id = '{here}'")).await;
    assert!(within("the cut", client.read(&mut [0; 1])).await.is_err(), "not a reset");
    until("the name is unknown", async || !is_known(&running, "here.test").await).await;
    assert_eq!(call(running.address, &real_hello("here.test")).await.as_deref(), Some(&REFUSAL[..]));
    change(&owner, format!("UPDATE clusters SET paused_at = NULL WHERE id = '{here}'")).await;
    until("it is served again", async || is_known(&running, "here.test").await).await;
    served(&running, "here.test").await;
    running.stop().await;

    let everywhere = Running::start(folder.config("")).await.unwrap();
    assert!(is_known(&everywhere, "here.test").await && is_known(&everywhere, "there.test").await);
    everywhere.stop().await;
}

/// Sums of all rows of a cluster, and `open` of the newest.
async fn usage_of(owner: &PgPool, id: Uuid) -> [i64; 5] {
    let row = sqlx::query(
        "SELECT coalesce(sum(bytes_in), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint,
                coalesce(sum(opened), 0)::bigint, coalesce(sum(refused), 0)::bigint,
                coalesce((SELECT open FROM usage WHERE cluster_id = $1 ORDER BY minute DESC LIMIT 1), -1)
         FROM usage WHERE cluster_id = $1",
    )
    .bind(id)
    .fetch_one(owner)
    .await
    .unwrap();
    std::array::from_fn(|column| row.get(column))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_counted_to_the_byte_across_restarts_and_open_returns_to_zero() {
    let (folder, database) = (Folder::new(), Postgres::start().await);
    let _server = Named::at(folder.path("sc"), "tenant");
    use_database(&folder, &database);
    let owner = database.connect("postgres").await;
    let id = Uuid::from_u128(1);
    add_cluster(&owner, id, "one", &folder.socket("sc")).await;
    change(&owner, format!("UPDATE clusters SET max_connections = 1 WHERE id = '{id}'")).await;
    let hello = real_hello("one.test").len() as i64;

    let running = Running::start(folder.config("")).await.unwrap();
    let mut client = served(&running, "one.test").await;
    assert_eq!(call(running.address, &real_hello("one.test")).await.as_deref(), Some(&REFUSAL[..]));
    until("the open connection is written", async || {
        usage_of(&owner, id).await == [hello, hello + 6, 1, 1, 1]
    })
    .await;
    client.write_all(&[7; 1000]).await.unwrap();
    within("the echo", client.read_exact(&mut [0; 1000])).await.unwrap();
    drop(client);
    until("the closed connection is written", async || {
        usage_of(&owner, id).await == [hello + 1000, hello + 1006, 1, 1, 0]
    })
    .await;
    // A gateway that stops writes what it has, and the next one adds to the same minute.
    let client = served(&running, "one.test").await;
    running.stop().await;
    drop(client);
    assert_eq!(usage_of(&owner, id).await, [2 * hello + 1000, 2 * hello + 1012, 2, 1, 0]);

    // A gateway that was killed left a connection open in the table.
    change(&owner, "UPDATE usage SET open = 1".into()).await;
    let running = Running::start(folder.config("")).await.unwrap();
    let client = served(&running, "one.test").await;
    drop(client);
    until("everything is written", async || {
        usage_of(&owner, id).await == [3 * hello + 1000, 3 * hello + 1018, 3, 1, 0]
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_waits_for_a_database_that_is_away_and_a_purged_cluster_bars_nobody() {
    let (folder, database) = (Folder::new(), Postgres::start().await);
    let _server = Named::at(folder.path("sc"), "tenant");
    use_database(&folder, &database);
    let owner = database.connect("postgres").await;
    let (kept, purged) = (Uuid::from_u128(1), Uuid::from_u128(2));
    add_cluster(&owner, kept, "kept", &folder.socket("sc")).await;
    add_cluster(&owner, purged, "purged", &folder.socket("sc")).await;
    let running = Running::start(folder.config("")).await.unwrap();
    owner.close().await;
    database.stop();
    served(&running, "kept.test").await;
    served(&running, "purged.test").await;
    let waiting = running.gateway.counters.usage_rows_waiting.clone();
    until("rows wait", async || waiting.load(std::sync::atomic::Ordering::Relaxed) >= 2).await;
    database.run_server();
    let owner = database.connect("postgres").await;
    change(&owner, format!("DELETE FROM clusters WHERE id = '{purged}'")).await;
    let hello = real_hello("kept.test").len() as i64;
    until("the rows are written", async || usage_of(&owner, kept).await[0] == hello).await;
    until("nothing waits", async || waiting.load(std::sync::atomic::Ordering::Relaxed) == 0).await;
    running.stop().await;
}
