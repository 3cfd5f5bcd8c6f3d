//! Consumers' offsets.

use super::fixture::{Controller, SliceSeen, Unit, batch, numbers, produced, stream_fetch, string};
use crate::connection::tests::fixture::{Client, Cluster, request, until};
use crate::link::{OffsetsRequest, PartitionKey};
use crate::sc::topic::CONSUMER_OFFSETS;
use crate::wire::Fields;

/// Opens a stream for this consumer and returns its number; there has to be something to read.
async fn stream(client: &mut Client, consumer: Option<&str>) -> u32 {
    client.send(&request(1003, 25, &stream_fetch("numbers", 0, 1 << 20, consumer))).await;
    SliceSeen::parse(client.response().await.unwrap()).stream_id
}

async fn update(client: &mut Client, stream_id: u32, offset: i64) -> i16 {
    let body = [offset.to_be_bytes().as_slice(), &stream_id.to_be_bytes()].concat();
    let mut fields = Fields::new(client.call(1006, 25, &body).await.unwrap().into());
    assert_eq!(fields.i64().unwrap(), offset);
    fields.i16().unwrap()
}

/// (consumer, topic, partition, offset) of each that is kept.
async fn list(client: &mut Client) -> Vec<(String, String, u32, i64)> {
    let mut fields = Fields::new(client.call(1008, 25, &[0]).await.unwrap().into());
    assert_eq!(fields.i16().unwrap(), 0);
    let n_found = fields.u32().unwrap();
    (0..n_found)
        .map(|_| {
            let found = (
                fields.string().unwrap(),
                fields.string().unwrap(),
                fields.u32().unwrap(),
                fields.i64().unwrap(),
            );
            assert!(fields.i64().unwrap() > 1_600_000_000);
            found
        })
        .collect()
}

fn at(offset: i64) -> (String, String, u32, i64) {
    ("group".into(), "numbers".into(), 0, offset)
}

#[tokio::test]
async fn a_consumers_offset_is_kept_through_a_restart_and_deleted_on_request() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"]))]).await;
    let (named, unnamed) = (stream(&mut client, Some("group")).await, stream(&mut client, None).await);
    assert_eq!(update(&mut client, named, 7).await, 0);
    assert_eq!(update(&mut client, named, 8).await, 0);
    assert_eq!(update(&mut client, unnamed, 9).await, 2);
    assert_eq!(update(&mut client, 99, 9).await, 3002);
    assert_eq!(list(&mut client).await, [at(8)]);
    unit.stop().await;

    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    assert_eq!(list(&mut client).await, [at(8)]);
    let mut body = Vec::new();
    string(&mut body, "numbers");
    body.extend(0u32.to_be_bytes());
    string(&mut body, "group");
    assert_eq!(client.call(1007, 25, &body).await.unwrap(), [0, 0]);
    assert!(list(&mut client).await.is_empty());
    unit.stop().await;
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    assert!(list(&mut unit.client(&cluster).await).await.is_empty());
}

#[tokio::test]
async fn many_moves_leave_a_small_log_and_the_last_offset() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let name = "c".repeat(1000);
    let moves = |consumer: String, offset| {
        let key = PartitionKey { topic: "numbers".into(), partition: 0 };
        unit.spu.consumers_call(OffsetsRequest::Update { consumer_id: consumer, key, offset })
    };
    assert_eq!(moves("resting".into(), 5).await, Ok(Vec::new()));
    for _ in 0..32 {
        let round = (0..256).map(|offset| moves(name.clone(), offset));
        for answer in futures_util::future::join_all(round).await {
            assert_eq!(answer, Ok(Vec::new()));
        }
    }
    assert_eq!(moves(name, 4242).await, Ok(Vec::new()));
    let log = unit.spu.replicas().get(CONSUMER_OFFSETS, 0).unwrap().log.clone().unwrap();
    until("old segments go", || log.size() < 6 << 20).await;
    assert!(log.offsets().log_start > 0, "8 MB were written");
    unit.stop().await;

    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let found = list(&mut unit.client(&cluster).await).await;
    let mut offsets: Vec<i64> = found.iter().map(|found| found.3).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [5, 4242]);
}

#[tokio::test]
async fn a_deleted_topics_consumers_are_forgotten() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let listener = Controller::listen(folder.path());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut controller = Controller::accept(&listener).await;
    controller.put(numbers(), &[]).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"]))]).await;
    let stream_id = stream(&mut client, Some("group")).await;
    assert_eq!(update(&mut client, stream_id, 0).await, 0);
    assert_eq!(list(&mut client).await, [at(0)]);
    let mut view = numbers();
    for assignment in &mut view {
        if assignment.key.topic == "numbers" {
            assignment.topic_id = uuid::Uuid::from_u128(11);
        }
    }
    controller.put(view, &[1]).await;
    assert!(list(&mut unit.client(&cluster).await).await.is_empty());
}
