//! What a principal with rules gets from an SPU, and how a change of them acts on its connections.

use cluster_settings::Settings;
use tokio::time::timeout;

use super::fixture::{
    QUIET, SliceSeen, Unit, assignment, batch, numbers, produce, produced, stream_fetch, string,
};
use crate::connection::tests::fixture::{Client, Cluster, DOMAIN, request};
use crate::link::Assignment;
use crate::sc::topic::{CONSUMER_OFFSETS, TopicOptions};
use crate::wire::Fields;

const DENIED: i16 = 13;

fn topics() -> Vec<Assignment> {
    let secret = assignment("secret", 0, 7, TopicOptions::default());
    numbers().into_iter().chain([secret]).collect()
}

async fn started(folder: &std::path::Path, settings: Settings) -> Unit {
    Unit::start(folder, settings, topics()).await
}

async fn admin(unit: &Unit, cluster: &Cluster) -> Client {
    let connector = cluster.connector(Some(&cluster.client(cluster.admin, 4)));
    Client::connect(&unit.server, &connector, &format!("main-0.{DOMAIN}")).await.unwrap()
}

/// The code for one record produced to the first partition.
async fn produce_one(client: &mut Client, topic: &str) -> i16 {
    produced(client, topic, &[(0, &batch(&["a"]))]).await[0].1
}

/// The code of a stream's first answer.
async fn consume(client: &mut Client, topic: &str) -> i16 {
    client.send(&request(1003, 25, &stream_fetch(topic, 0, 1 << 20, None))).await;
    SliceSeen::parse(client.response().await.unwrap()).code
}

/// The code for the offsets of the first partition.
async fn offsets(client: &mut Client, topic: &str) -> i16 {
    let mut body = 1u32.to_be_bytes().to_vec();
    string(&mut body, topic);
    body.extend(1u32.to_be_bytes());
    body.extend(0u32.to_be_bytes());
    let mut fields = Fields::new(client.call(1002, 25, &body).await.unwrap().into());
    fields.u32().unwrap();
    fields.string().unwrap();
    fields.u32().unwrap();
    fields.i16().unwrap()
}

#[tokio::test]
async fn each_topic_of_a_request_is_judged_by_itself() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = started(folder.path(), cluster.settings_with_rules(&["produce:num*"])).await;
    let mut client = unit.client(&cluster).await;
    let records = batch(&["a"]);
    let mut body = produce("secret", 1, &[(0, &records)]);
    body[7..11].copy_from_slice(&2u32.to_be_bytes());
    // The second topic goes before the SmartModules, of which there are none.
    body.truncate(body.len() - 4);
    string(&mut body, "numbers");
    body.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    body.extend(u32::try_from(records.len()).unwrap().to_be_bytes());
    body.extend(&records);
    body.extend(0u32.to_be_bytes());
    let mut fields = Fields::new(client.call(0, 25, &body).await.unwrap().into());
    assert_eq!(fields.u32().unwrap(), 2);
    for (topic, expected) in [("secret", (0, DENIED, -1)), ("numbers", (1, 0, 0))] {
        assert_eq!((fields.string().unwrap().as_str(), fields.u32().unwrap()), (topic, 1));
        let answer = (fields.u32().unwrap(), fields.i16().unwrap(), fields.i64().unwrap());
        assert_eq!(answer, expected, "{topic}");
        fields.slice(16).unwrap();
    }
    let log = unit.spu.replicas().get("secret", 0).unwrap().log.clone().unwrap();
    assert_eq!(log.offsets().leo, 0, "nothing was stored");
}

#[tokio::test]
async fn only_what_a_rule_gives_is_done_and_a_topic_that_is_not_there_looks_the_same() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = started(folder.path(), cluster.settings()).await;
    let mut owner = admin(&unit, &cluster).await;
    for topic in ["numbers", "secret"] {
        assert_eq!(produce_one(&mut owner, topic).await, 0);
    }
    for (rules, topic, expected) in [
        (&["produce:numbers"][..], "numbers", [0, DENIED, DENIED]),
        (&["consume:n*"], "numbers", [DENIED, 0, 0]),
        (&["admin:*"], "numbers", [DENIED; 3]),
        (&["produce,consume:numbers"], "secret", [DENIED; 3]),
        (&["produce,consume:numbers"], "nowhere", [DENIED; 3]),
        (&["consume:c*"], CONSUMER_OFFSETS, [DENIED; 3]),
        (&[], "numbers", [DENIED; 3]),
    ] {
        unit.server.change(cluster.settings_with_rules(rules));
        let mut client = unit.client(&cluster).await;
        let seen = [
            produce_one(&mut client, topic).await,
            offsets(&mut client, topic).await,
            consume(&mut client, topic).await,
        ];
        assert_eq!(seen, expected, "{rules:?} on {topic}");
        // Nobody else notices.
        assert_eq!((produce_one(&mut owner, "secret").await, offsets(&mut owner, "secret").await), (0, 0));
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_topic_is_taken_and_its_connection_goes_on() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = started(folder.path(), cluster.settings_with_rules(&["produce,consume:*"])).await;
    let (mut client, mut owner) = (unit.client(&cluster).await, admin(&unit, &cluster).await);
    assert_eq!(produce_one(&mut owner, "secret").await, 0);
    assert_eq!(produce_one(&mut client, "numbers").await, 0);
    let (mut reading, mut waiting) = (unit.client(&cluster).await, unit.client(&cluster).await);
    assert_eq!(consume(&mut reading, "secret").await, 0);
    waiting.send(&request(1003, 25, &stream_fetch("secret", 1, 1 << 20, None))).await;
    let mut other = unit.client(&cluster).await;
    assert_eq!(consume(&mut other, "numbers").await, 0);

    unit.server.change(cluster.settings_with_rules(&["produce,consume:numbers"]));
    for stream in [&mut reading, &mut waiting] {
        let last = SliceSeen::parse(stream.response().await.expect("told why"));
        assert_eq!((last.code, last.batches.len()), (DENIED, 0));
        assert_eq!(produce_one(stream, "numbers").await, 0, "the connection goes on");
        assert_eq!(produce_one(stream, "secret").await, DENIED);
    }
    assert!(timeout(QUIET, other.response()).await.is_err(), "another topic's stream was touched");
    assert_eq!(unit.server.usage.connections_cut.get(), 0);

    // What is given acts on the living connection as well.
    unit.server.change(cluster.settings_with_rules(&["consume:secret"]));
    assert_eq!(consume(&mut client, "secret").await, 0);
    assert_eq!(produce_one(&mut client, "numbers").await, DENIED);
}

/// (topic, offset) of each stored offset, and the code.
async fn stored(client: &mut Client, topic: Option<&str>) -> (i16, Vec<(String, i64)>) {
    let mut body = vec![1, u8::from(topic.is_some())];
    if let Some(topic) = topic {
        string(&mut body, topic);
        body.extend(0u32.to_be_bytes());
    }
    body.push(0);
    let mut fields = Fields::new(client.call(1008, 25, &body).await.unwrap().into());
    let (code, count) = (fields.i16().unwrap(), fields.u32().unwrap());
    let found = (0..count).map(|_| {
        fields.string().unwrap();
        let topic = fields.string().unwrap();
        fields.u32().unwrap();
        let offset = fields.i64().unwrap();
        fields.i64().unwrap();
        (topic, offset)
    });
    (code, found.collect())
}

#[tokio::test]
async fn consumers_of_other_topics_are_neither_listed_nor_forgotten() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = started(folder.path(), cluster.settings()).await;
    let mut owner = admin(&unit, &cluster).await;
    for (stream_id, topic) in [(1u32, "numbers"), (2, "secret")] {
        assert_eq!(produce_one(&mut owner, topic).await, 0);
        owner.send(&request(1003, 25, &stream_fetch(topic, 0, 1 << 20, Some("group")))).await;
        assert_eq!(SliceSeen::parse(owner.response().await.unwrap()).stream_id, stream_id);
        let body = [0i64.to_be_bytes().as_slice(), &stream_id.to_be_bytes()].concat();
        assert_eq!(owner.call(1006, 25, &body).await.unwrap()[8..10], [0, 0]);
    }
    unit.server.change(cluster.settings_with_rules(&["consume:numbers", "produce:secret"]));
    let mut client = unit.client(&cluster).await;
    let own = vec![("numbers".to_owned(), 0)];
    assert_eq!(stored(&mut client, None).await, (0, own.clone()));
    assert_eq!(stored(&mut client, Some("numbers")).await, (0, own));
    assert_eq!(stored(&mut client, Some("secret")).await, (DENIED, Vec::new()));
    let mut forget = Vec::new();
    string(&mut forget, "secret");
    forget.extend(0u32.to_be_bytes());
    string(&mut forget, "group");
    assert_eq!(client.call(1007, 25, &forget).await.unwrap(), DENIED.to_be_bytes());
    assert_eq!(stored(&mut owner, None).await.1.len(), 2);

    // The owner of a stream whose topic is taken moves no offset there.
    client.send(&request(1003, 25, &stream_fetch("numbers", 0, 1 << 20, Some("mine")))).await;
    let stream_id = SliceSeen::parse(client.response().await.unwrap()).stream_id;
    unit.server.change(cluster.settings_with_rules(&["consume:letters"]));
    assert_eq!(SliceSeen::parse(client.response().await.unwrap()).code, DENIED);
    let body = [5i64.to_be_bytes().as_slice(), &stream_id.to_be_bytes()].concat();
    assert_ne!(client.call(1006, 25, &body).await.unwrap()[8..10], [0, 0]);
    assert_eq!(stored(&mut client, None).await, (0, Vec::new()));
}
