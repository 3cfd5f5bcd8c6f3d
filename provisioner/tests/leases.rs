//! Leases: a holder that slept past its end changes nothing.

mod world;

use std::collections::BTreeMap;

use provisioner::status::Status;
use provisioner::store::{self, Lease, StoreError};
use rustix::process::Signal;
use uuid::Uuid;
use world::World;

#[tokio::test]
async fn a_lease_that_was_taken_over_writes_nothing_any_more() {
    let mut world = World::new().await;
    world.end(Signal::TERM);
    let pool = world.postgres.connect("cloud_provisioner").await;
    let cluster = world.cluster("blue", 1).await;
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let claim =
        async |holder| store::claim(&pool, "here", holder, &[cluster]).await.unwrap().get(&cluster).copied();
    let old = Lease { holder: first, token: claim(first).await.unwrap() };
    assert_eq!(claim(second).await, None, "a live lease is not taken");
    let status = Status::new();
    store::record_status(&pool, old, cluster, &status).await.unwrap();
    // The first one sleeps past its end.
    world.sql("UPDATE leases SET expires_at = now() - interval '1 s' WHERE cluster_id = $1", cluster).await;
    assert!(
        fenced(store::record_status(&pool, old, cluster, &status).await),
        "also before somebody took over"
    );
    let new = Lease { holder: second, token: claim(second).await.unwrap() };
    assert!(new.token > old.token);
    let backends = BTreeMap::from([(String::new(), "unix:/run/sc.sock".to_owned())]);
    world.sql("UPDATE clusters SET deleted_at = now(), purge_after = now() WHERE id = $1", cluster).await;
    for stale in [old, Lease { holder: second, token: old.token }, Lease { holder: first, token: new.token }]
    {
        assert!(fenced(store::record_status(&pool, stale, cluster, &status).await));
        assert!(fenced(store::publish_backends(&pool, stale, cluster, &backends).await));
        assert!(fenced(store::confirm_purge(&pool, stale, cluster).await));
        assert!(fenced(store::purge(&pool, stale, cluster).await));
    }
    assert_eq!(world.one("SELECT count(*) FROM cluster_backends WHERE cluster_id = $1", cluster).await, 0);
    store::publish_backends(&pool, new, cluster, &backends).await.unwrap();
    store::confirm_purge(&pool, new, cluster).await.unwrap();
    store::purge(&pool, new, cluster).await.unwrap();
}

#[tokio::test]
async fn one_statement_renews_all_of_a_holders_leases_and_nobody_elses() {
    let mut world = World::new().await;
    world.end(Signal::TERM);
    let pool = world.postgres.connect("cloud_provisioner").await;
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let (one, two, foreign) =
        (world.cluster("one", 1).await, world.cluster("two", 1).await, world.cluster("three", 1).await);
    store::claim(&pool, "here", own, &[one, two]).await.unwrap();
    store::claim(&pool, "here", other, &[foreign]).await.unwrap();
    let renewed = store::renew(&pool, own).await.unwrap();
    assert_eq!(renewed.keys().copied().collect::<std::collections::BTreeSet<_>>(), [one, two].into());
}

#[tokio::test]
async fn nothing_is_purged_before_its_time() {
    let mut world = World::new().await;
    world.end(Signal::TERM);
    let pool = world.postgres.connect("cloud_provisioner").await;
    let cluster = world.cluster("blue", 1).await;
    let holder = Uuid::new_v4();
    let token = store::claim(&pool, "here", holder, &[cluster]).await.unwrap()[&cluster];
    let lease = Lease { holder, token };
    assert!(fenced(store::purge(&pool, lease, cluster).await), "not deleted");
    world
        .sql(
            "UPDATE clusters SET deleted_at = now(), purge_after = now() + interval '1 h' WHERE id = $1",
            cluster,
        )
        .await;
    assert!(fenced(store::confirm_purge(&pool, lease, cluster).await), "in its time of grace");
    assert!(fenced(store::purge(&pool, lease, cluster).await));
    assert_eq!(world.one("SELECT count(*) FROM clusters WHERE id = $1", cluster).await, 1);
}

#[tokio::test]
async fn a_provisioner_leaves_a_cluster_with_a_live_foreign_lease_alone() {
    let mut world = World::new().await;
    world.end(Signal::TERM);
    let pool = world.postgres.connect("cloud_provisioner").await;
    let cluster = world.cluster("blue", 1).await;
    store::claim(&pool, "here", Uuid::new_v4(), &[cluster]).await.unwrap();
    world.start();
    let other = world.cluster("red", 1).await;
    world.until_state(other, "running").await;
    assert!(world.processes(cluster).is_empty());
    assert_eq!(world.state(cluster).await.as_deref(), Some("creating"));
    world.sql("UPDATE leases SET expires_at = now() WHERE cluster_id = $1", cluster).await;
    world.until_state(cluster, "running").await;
}

/// A standby knows nothing of a transaction that left no trace, and gives its number again.
#[tokio::test]
async fn what_changes_on_a_standby_that_took_over_is_seen_though_its_transactions_count_from_lower_on() {
    let mut world = World::new().await;
    world.end(Signal::TERM);
    world.postgres.keep_standby();
    let pool = world.postgres.connect("cloud_provisioner").await;
    for _ in 0..50 {
        let mut undone = pool.begin().await.unwrap();
        sqlx::query("SELECT pg_current_xact_id()").execute(&mut *undone).await.unwrap();
        undone.rollback().await.unwrap();
    }
    let before = store::fleet::changes(&pool, "local", None).await.unwrap();
    assert!(before.rows.is_empty());
    world.postgres.fail_over();
    let pool = world.postgres.connect("cloud_provisioner").await;
    let cluster = world.cluster("blue", 1).await;
    world.sql("UPDATE clusters SET runtime = 'kubernetes' WHERE id = $1", cluster).await;
    let after = store::fleet::changes(&pool, "local", Some(&before.next)).await.unwrap();
    assert_eq!(after.rows.iter().map(|row| row.wanted.cluster).collect::<Vec<_>>(), [cluster]);
}

fn fenced(result: Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Fenced))
}
