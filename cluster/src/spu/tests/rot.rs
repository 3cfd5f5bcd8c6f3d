//! Damage on an SPU's disk, as its clients and the other SPUs meet it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cluster_storage::batch::{Batch, Limits, split};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::fixture::{Controller, SliceSeen, Unit, ack, batch, numbers, produced, stream_fetch};
use crate::connection::tests::fixture::{Client, Cluster, request};
use crate::internal::Listener;
use crate::link::{Assignment, PartitionKey};
use crate::peer::{
    Answer, Answers, Ask, Copied, Parcel, Parcels, Peers, Placed, Refused, Reply, only, serve,
};
use crate::sc::metadata::InSync;
use crate::wire::ErrorCode;
use crate::wire::schema::error_bytes;

/// Another SPU, which has these batches and nothing else.
struct Other(Vec<Batch>);

impl Answers for Other {
    fn answer(self: Arc<Self>, ask: Parcel<Ask>, _: Parcels) -> BoxFuture<'static, Reply> {
        let holds = |batch: &&Batch, from| batch.header().next_offset().unwrap() > from;
        let found = match &ask.head {
            Ask::Copied(copied) => self.0.iter().find(|batch| holds(batch, copied.from)).cloned(),
            _ => None,
        };
        async move {
            match found {
                Some(batch) => {
                    let slice = Answer::Slice { next_offset: 0, log_start: 0, hw: 6 };
                    only(&slice, batch.bytes().clone())
                }
                None => only(&Answer::Refused(Refused::NotLeader), Bytes::new()),
            }
        }
        .boxed()
    }
}

/// Three batches of two records in each partition of `numbers`, on disk only.
async fn stored(folder: &Path, cluster: &Cluster) {
    let unit = Unit::with_numbers(folder, cluster).await;
    let mut client = unit.client(cluster).await;
    for values in [["a", "b"], ["c", "d"], ["e", "f"]] {
        let batch = batch(&values);
        let entries: [(u32, &[u8]); 2] = [(0, &batch), (1, &batch)];
        produced(&mut client, "numbers", &entries).await;
    }
    unit.stop().await;
}

fn log_file(folder: &Path, partition: u32) -> PathBuf {
    let of = format!("numbers-{}-{partition}", Uuid::from_u128(1).simple());
    folder.join("main-0/log").join(of).join(format!("{:020}.log", 0))
}

/// The batches of a log file.
fn batches(file: &[u8]) -> Vec<Batch> {
    let limits = Limits { batch_bytes: 1 << 20, batches: 100 };
    split(&Bytes::copy_from_slice(&file[36..]), limits).unwrap()
}

/// Flips a bit of the second batch of the first partition; returns the file as it was.
fn rot(folder: &Path) -> Vec<u8> {
    let file = log_file(folder, 0);
    let whole = std::fs::read(&file).unwrap();
    let lengths: Vec<usize> = batches(&whole).iter().map(|batch| batch.bytes().len()).collect();
    let mut rotten = whole.clone();
    rotten[36 + lengths[0] + lengths[1] - 3] ^= 16;
    std::fs::write(&file, rotten).unwrap();
    whole
}

/// The partitions as they are with a second copy of each of `numbers` at SPU 5002.
fn copied(leader: i32) -> Vec<Assignment> {
    let mut assignments = numbers();
    for assignment in &mut assignments[..2] {
        assignment.replicas = vec![5001, 5002];
        assignment.in_sync = InSync { version: 1, spus: [5001, 5002].into() };
        (assignment.leader, assignment.epoch, assignment.factor) = (leader, 4, 2);
    }
    assignments
}

/// What one read gives.
async fn read(client: &mut Client, partition: u32, offset: i64) -> SliceSeen {
    let mut body = stream_fetch("numbers", offset, 1, None);
    // Behind the name and its length.
    body[9..13].copy_from_slice(&partition.to_be_bytes());
    client.send(&request(1003, 25, &body)).await;
    SliceSeen::parse(client.response().await.expect("a slice"))
}

#[tokio::test]
async fn a_reader_who_meets_damage_gets_what_another_copy_has_and_the_file_is_whole_again() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    stored(folder.path(), &cluster).await;
    let whole = rot(folder.path());
    let (socket, stop) = (folder.path().join("other.sock"), CancellationToken::new());
    let other = Arc::new(Other(batches(&whole)));
    tokio::spawn(serve(Listener::unix(&socket).unwrap(), other, stop.clone()));

    let listener = Controller::listen(folder.path());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut controller = Controller::accept(&listener).await;
    controller.tell_peers(&[(5002, format!("unix:{}", socket.display()))]).await;
    controller.put(copied(5001), &[]).await;
    let mut client = unit.client(&cluster).await;
    for offset in [0, 2, 4] {
        let slice = read(&mut client, 0, offset).await;
        assert_eq!((slice.code, slice.offsets()), (0, vec![offset]));
    }
    assert_eq!(std::fs::read(log_file(folder.path(), 0)).unwrap(), whole);
    let usage = &unit.server.usage;
    let counted = (usage.damage_found.get(), usage.damage_mended.get(), usage.damaged.get());
    assert_eq!(counted, (1, 1, 0));
    // The partition goes on: a segment was closed, nothing was cut off.
    assert_eq!(unit.spu.replicas().get("numbers", 0).unwrap().report(0, None, false).log_end, 6);
    stop.cancel();
}

#[tokio::test]
async fn without_another_copy_the_damaged_records_are_an_error_and_all_else_is_served() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    stored(folder.path(), &cluster).await;
    rot(folder.path());
    let rotten = std::fs::read(log_file(folder.path(), 0)).unwrap();
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    let mut client = unit.client(&cluster).await;
    let refused = i16::from_be_bytes(error_bytes(&ErrorCode::StorageError)[..2].try_into().unwrap());
    for _ in 0..3 {
        for (partition, offset, code) in
            [(0, 0, 0), (0, 2, refused), (0, 3, refused), (0, 4, 0), (1, 0, 0), (1, 2, 0)]
        {
            let slice = read(&mut client, partition, offset).await;
            assert_eq!(slice.code, code, "partition {partition}, offset {offset}");
            assert_eq!(slice.batches.is_empty(), code != 0);
        }
    }
    // A stream does not pass over it either.
    let first = read(&mut client, 0, 0).await;
    client.call(1005, 0, &ack(first.stream_id, 2)).await.unwrap();
    assert_eq!(SliceSeen::parse(client.response().await.unwrap()).code, refused);
    let usage = &unit.server.usage;
    let counted = (usage.damage_found.get(), usage.damage_mended.get(), usage.damaged.get());
    assert_eq!(counted, (1, 0, 1), "one place, said once");
    assert_eq!(std::fs::read(log_file(folder.path(), 0)).unwrap(), rotten, "it was touched");
    assert_eq!(produced(&mut client, "numbers", &[(0, &batch(&["g"]))]).await, [(0, 0, 6)]);
}

#[tokio::test]
async fn a_copy_gives_others_what_it_has_committed_of_the_same_partition_and_nothing_else() {
    let (folder, cluster) = (tempfile::tempdir().unwrap(), Cluster::new());
    stored(folder.path(), &cluster).await;
    let listener = Controller::listen(folder.path());
    let unit = Unit::with_numbers(folder.path(), &cluster).await;
    // It follows somebody who is not there: what it has it gives all the same.
    Controller::accept(&listener).await.put(copied(5002), &[]).await;
    let (socket, stop) = (folder.path().join("peer.sock"), CancellationToken::new());
    tokio::spawn(serve(Listener::unix(&socket).unwrap(), Arc::clone(&unit.spu), stop.clone()));
    let (sender, addresses) =
        watch::channel(Arc::new([(5001, format!("unix:{}", socket.display()))].into_iter().collect()));
    let peers = Peers::new(addresses, None);
    let ask = |topic: &str, topic_id, partition, from| {
        let key = PartitionKey { topic: topic.into(), partition };
        let placed = Placed { key, topic_id: Uuid::from_u128(topic_id) };
        Ask::Copied(Copied { placed, from, max_bytes: 1 })
    };
    for (ask, offset) in [
        (ask("numbers", 1, 0, 0), Some(0)),
        (ask("numbers", 1, 0, 3), Some(2)),
        (ask("numbers", 1, 1, 5), Some(4)),
        (ask("numbers", 1, 1, 6), None),
        (ask("numbers", 1, 1, -1), None),
        (ask("numbers", 1, 1, i64::MAX), None),
        (ask("numbers", 2, 1, 0), None),
        (ask("numbers", 1, 2, 0), None),
        (ask("letters", 1, 0, 0), None),
    ] {
        let answer: Parcel<Answer> = peers.call(5001, &ask, Bytes::new()).await.unwrap();
        let given = (!answer.payload.is_empty()).then(|| Batch::parse(&answer.payload).unwrap());
        assert_eq!(given.map(|batch| batch.header().base_offset), offset, "{ask:?}: {:?}", answer.head);
        assert_eq!(matches!(answer.head, Answer::Slice { .. }), offset.is_some(), "{ask:?}");
    }
    drop(sender);
    stop.cancel();
}
