//! What consumers get, and when.

use tokio::time::timeout;

use super::fixture::{QUIET, SliceSeen, Unit, ack, batch, produced, stream_fetch};
use crate::connection::MAX_STREAMS;
use crate::connection::tests::fixture::{Client, Cluster, request};

async fn next(client: &mut Client) -> SliceSeen {
    SliceSeen::parse(client.response().await.expect("a slice"))
}

/// Acknowledges without reading the status that comes back among the slices.
async fn acknowledged(client: &mut Client, stream_id: u32, offset: i64) {
    let status = client.call(1005, 0, &ack(stream_id, offset)).await.unwrap();
    assert_eq!(status[4..], [stream_id.to_be_bytes().as_slice(), &[0, 0]].concat());
}

#[tokio::test]
async fn a_stream_sends_whole_batches_and_waits_for_each_acknowledgement() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let (mut producer, mut client) = (unit.client(&cluster).await, unit.client(&cluster).await);
    let three = batch(&["a", "b", "c"]);
    let entries: [(u32, &[u8]); 3] = [(0, &three), (0, &three), (0, &three)];
    produced(&mut producer, "numbers", &entries).await;

    // One byte is less than a batch: one whole batch comes all the same.
    client.send(&request(1003, 25, &stream_fetch("numbers", 1, 1, None))).await;
    let first = next(&mut client).await;
    assert_eq!((first.stream_id, first.code, first.offsets()), (1, 0, vec![0]));
    assert_eq!(first.batches[0].header().leader_epoch, 3);
    assert!(timeout(QUIET, client.response()).await.is_err(), "a second slice without an acknowledgement");

    acknowledged(&mut client, 1, 3).await;
    assert_eq!(next(&mut client).await.offsets(), [3]);
    // Behind what was sent: the client wants it again.
    acknowledged(&mut client, 1, 4).await;
    assert_eq!(next(&mut client).await.offsets(), [3]);
    // Beyond what was sent: nothing is passed over.
    acknowledged(&mut client, 1, 1000).await;
    assert_eq!(next(&mut client).await.offsets(), [6]);
    acknowledged(&mut client, 1, 9).await;
    assert!(timeout(QUIET, client.response()).await.is_err(), "a slice of nothing");
    produced(&mut producer, "numbers", &[(0, &three)]).await;
    assert_eq!(next(&mut client).await.offsets(), [9]);
}

#[tokio::test]
async fn streams_of_one_connection_have_numbers_and_do_not_wait_for_each_other() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let (mut producer, mut client) = (unit.client(&cluster).await, unit.client(&cluster).await);
    for _ in 0..20 {
        client.send(&request(1003, 25, &stream_fetch("numbers", 0, 1 << 20, None))).await;
    }
    produced(&mut producer, "numbers", &[(0, &batch(&["a"]))]).await;
    let mut seen: Vec<u32> = Vec::new();
    for _ in 0..20 {
        seen.push(next(&mut client).await.stream_id);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=20).collect::<Vec<u32>>());
    let status = client.call(1005, 0, &ack(99, 1)).await.unwrap();
    assert_eq!(status[8..10], 3002i16.to_be_bytes(), "an unknown stream");
}

#[tokio::test]
async fn one_stream_more_than_a_connection_may_have_is_refused_and_the_others_go_on() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let (mut producer, mut client) = (unit.client(&cluster).await, unit.client(&cluster).await);
    for _ in 0..=MAX_STREAMS {
        client.send(&request(1003, 25, &stream_fetch("numbers", 0, 1 << 20, None))).await;
    }
    let refused = next(&mut client).await;
    assert_eq!((refused.stream_id, refused.code), (0, 2));
    produced(&mut producer, "numbers", &[(0, &batch(&["a"]))]).await;
    let went_on = next(&mut client).await;
    assert_eq!((went_on.code, went_on.offsets()), (0, vec![0]));
}

#[tokio::test]
async fn a_stream_that_cannot_be_says_why() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a"]))]).await;
    let mut filtered = stream_fetch("numbers", 0, 100, None);
    filtered.truncate(filtered.len() - 5);
    filtered.extend([0, 0, 0, 1, 0, 0, 1, b'x']);
    for (what, body, code) in [
        ("unknown topic", stream_fetch("letters", 0, 100, None), 6),
        ("beyond the end", stream_fetch("numbers", 2, 100, None), 2),
        ("before the beginning", stream_fetch("numbers", -5, 100, None), 2),
        ("a SmartModule", filtered, 6001),
    ] {
        client.send(&request(1003, 25, &body)).await;
        let slice = next(&mut client).await;
        assert_eq!(slice.code, code, "{what}");
        assert!(slice.batches.is_empty());
    }
    // The end itself is a place to wait at, and no size is too odd.
    for max_bytes in [0, -1, i32::MIN, i32::MAX] {
        client.send(&request(1003, 25, &stream_fetch("numbers", 0, max_bytes, None))).await;
        assert_eq!(next(&mut client).await.offsets(), [0], "{max_bytes}");
    }
}

#[tokio::test]
async fn offsets_of_partitions_are_told() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    produced(&mut client, "numbers", &[(0, &batch(&["a", "b"]))]).await;
    let mut body = 1u32.to_be_bytes().to_vec();
    super::fixture::string(&mut body, "numbers");
    body.extend(2u32.to_be_bytes());
    body.extend(0u32.to_be_bytes());
    body.extend(7u32.to_be_bytes());
    let response = client.call(1002, 25, &body).await.unwrap();
    let mut fields = crate::wire::Fields::new(response.into());
    assert_eq!((fields.u32().unwrap(), fields.string().unwrap().as_str()), (1, "numbers"));
    assert_eq!(fields.u32().unwrap(), 2);
    let mut entry = || {
        let (code, partition) = (fields.i16().unwrap(), fields.u32().unwrap());
        (code, partition, fields.i64().unwrap(), fields.i64().unwrap())
    };
    assert_eq!(entry(), (0, 0, 0, 2));
    assert_eq!(entry(), (3001, 7, -1, -1));
}
