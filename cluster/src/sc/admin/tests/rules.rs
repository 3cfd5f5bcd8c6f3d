//! What a principal with rules sees of an SC, and what it may change there.

use super::fixture::{Process, World, create, create_labelled, delete, list, news, update, watch_all};
use super::topics::whole;
use crate::connection::tests::fixture::Client;
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::wire::ErrorCode;
use crate::wire::schema::metadata::message::MsgType;
use crate::wire::schema::metadata::partition::PartitionSpec;
use crate::wire::schema::metadata::spu::SpuSpec;
use crate::wire::schema::metadata::topic::{AddPartition, TopicSpec, UpdateTopicAction};

fn one() -> TopicSpec {
    TopicSpec::new_computed(1, 1, None)
}

fn change_rules(world: &World, process: &Process, rules: &[&str]) {
    let mut settings = world.cluster.settings_with_rules(rules);
    settings.spus = world.settings.spus.clone();
    process.running.change(settings);
}

async fn made(client: &mut Client, names: &[&str]) {
    for name in names {
        assert_eq!(create(client, name, one()).await.0, ErrorCode::None);
    }
}

async fn topics(client: &mut Client, system: bool) -> Vec<String> {
    list::<TopicSpec>(client, "", system, 19).await.into_iter().map(|topic| topic.name).collect()
}

async fn partitions(client: &mut Client) -> Vec<String> {
    list::<PartitionSpec>(client, "", false, 19).await.into_iter().map(|partition| partition.name).collect()
}

#[tokio::test]
async fn lists_show_only_what_a_rule_names() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    made(&mut world.admin(&process).await, &["orders-a", "orders-b", "secret"]).await;
    let mut user = world.user(&process).await;
    for (rules, seen, system) in [
        (&["produce:orders-a"][..], &["orders-a"][..], true),
        (&["consume:orders-*"], &["orders-a", "orders-b"], true),
        (&["admin:s*", "produce:orders-b"], &["orders-b", "secret"], true),
        (&["produce:nowhere"], &[], true),
        (&[], &[], false),
        (&["consume:*"], &["orders-a", "orders-b", "secret"], true),
    ] {
        change_rules(&world, &process, rules);
        assert_eq!(topics(&mut user, false).await, seen, "{rules:?}");
        let of_seen: Vec<_> = seen.iter().map(|name| format!("{name}-0")).collect();
        assert_eq!(partitions(&mut user).await, of_seen, "{rules:?}");
        // The topic by which clients find consumers' offsets is there for whoever has any right.
        let expected: &[&str] = if system { &[CONSUMER_OFFSETS] } else { &[] };
        assert_eq!(topics(&mut user, true).await, expected, "{rules:?}");
        assert_eq!(list::<SpuSpec>(&mut user, "", false, 19).await.len(), 1);
    }
}

#[tokio::test]
async fn a_topic_is_created_changed_and_deleted_only_by_a_rule_that_says_admin() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    made(&mut world.admin(&process).await, &["secret", "orders-old"]).await;
    change_rules(&world, &process, &["admin:orders-*", "produce,consume:secret"]);
    let mut user = world.user(&process).await;
    let more = || UpdateTopicAction::AddPartition(AddPartition { count: 1 });
    for name in ["secret", "nowhere", "orders", CONSUMER_OFFSETS] {
        assert_eq!(create(&mut user, name, one()).await.0, ErrorCode::PermissionDenied, "{name}");
        assert_eq!(update(&mut user, name, more()).await.0, ErrorCode::PermissionDenied, "{name}");
        assert_eq!(delete(&mut user, name, true).await.0, ErrorCode::PermissionDenied, "{name}");
    }
    assert_eq!(create_labelled(&mut user, "Mirror").await.0, ErrorCode::PermissionDenied);
    assert_eq!(create(&mut user, "orders-new", one()).await.0, ErrorCode::None);
    assert_eq!(update(&mut user, "orders-old", more()).await.0, ErrorCode::None);
    assert_eq!(delete(&mut user, "orders-old", false).await.0, ErrorCode::None);
    assert_eq!(topics(&mut user, false).await, ["orders-new", "secret"]);
    // What is taken is refused on the living connection.
    change_rules(&world, &process, &["produce:orders-*"]);
    assert_eq!(delete(&mut user, "orders-new", false).await.0, ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn a_watch_tells_no_other_name_and_follows_the_rules_as_they_change() {
    let world = World::new(1);
    let process = world.start().await;
    let _spu = world.spu(0).await;
    whole(&process.sc).await;
    let mut admin = world.admin(&process).await;
    made(&mut admin, &["orders-a", "secret"]).await;
    change_rules(&world, &process, &["produce:orders-*"]);
    let (mut topics, mut partitions) = (world.user(&process).await, world.user(&process).await);
    watch_all::<TopicSpec>(&mut topics).await;
    watch_all::<PartitionSpec>(&mut partitions).await;
    let names: Vec<_> =
        news::<TopicSpec>(&mut topics).await.all.into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, [CONSUMER_OFFSETS, "orders-a"]);
    let all = news::<PartitionSpec>(&mut partitions).await.all;
    let names: Vec<_> = all.into_iter().map(|partition| partition.name).collect();
    assert_eq!(names, [format!("{CONSUMER_OFFSETS}-0"), "orders-a-0".into()]);

    // One that is not seen comes before one that is: the first news must be of the second.
    made(&mut admin, &["secret-2", "orders-b"]).await;
    assert_eq!(delete(&mut admin, "secret", false).await.0, ErrorCode::None);
    made(&mut admin, &["orders-c"]).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|name| name != "orders-c") {
        let changes = news::<TopicSpec>(&mut topics).await.changes;
        seen.extend(changes.into_iter().map(|change| change.content.name));
    }
    seen.dedup();
    assert_eq!(seen, ["orders-b", "orders-c"]);

    change_rules(&world, &process, &["produce:secret-*"]);
    let mut now = Vec::new();
    while now.iter().all(|(_, name)| name != "secret-2") {
        let changes = news::<TopicSpec>(&mut topics).await.changes;
        now = changes
            .into_iter()
            .map(|change| (change.header == MsgType::DELETE, change.content.name))
            .collect();
    }
    now.sort();
    let gone = ["orders-a", "orders-b", "orders-c"].map(|name| (true, name.to_owned()));
    assert_eq!(now, [vec![(false, "secret-2".to_owned())], gone.to_vec()].concat());
    let mut left = Vec::new();
    while left.iter().all(|name| name != "secret-2-0") {
        let changes = news::<PartitionSpec>(&mut partitions).await.changes;
        left.extend(changes.into_iter().filter(|c| c.header != MsgType::DELETE).map(|c| c.content.name));
    }
    assert!(left.iter().all(|name| name == "secret-2-0" || name.starts_with("orders-")), "{left:?}");
    assert_eq!(process.running.usage.connections_cut.get(), 0);
}
