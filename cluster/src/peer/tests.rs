use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::internal::Listener;
use crate::link::PartitionKey;

/// Gives every payload back, and for a follower every ack as a mark.
struct Echo;

impl Answers for Echo {
    fn answer(self: Arc<Self>, ask: Parcel<Ask>, behind: Parcels) -> BoxFuture<'static, Reply> {
        async move {
            match ask.head {
                Ask::Follow(_) => stream::unfold(behind, |mut behind| async move {
                    let ack = behind.next::<Ack>().await.ok()??;
                    Some((
                        encode(&Fed::Batches { hw: ack.head.durable, log_start: 0, epoch_start: None }, 0)
                            .ok()?,
                        behind,
                    ))
                })
                .boxed(),
                _ => {
                    let head = encode(&Answer::Offsets { log_start: 1, hw: 2 }, ask.payload.len()).unwrap();
                    stream::iter([head, ask.payload]).boxed()
                }
            }
        }
        .boxed()
    }
}

fn key() -> PartitionKey {
    PartitionKey { topic: "orders".into(), partition: 0 }
}

async fn peers() -> (Peers, tempfile::TempDir, CancellationToken) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("peer.sock");
    let stop = CancellationToken::new();
    tokio::spawn(serve(Listener::unix(&socket).unwrap(), Arc::new(Echo), stop.clone()));
    let addresses = [(1, format!("unix:{}", socket.display())), (2, "unix:/nowhere/peer.sock".into())];
    let (sender, addresses) = watch::channel(Arc::new(addresses.into_iter().collect()));
    // The addresses stay what they are.
    std::mem::forget(sender);
    (Peers::new(addresses, None), dir, stop)
}

#[tokio::test]
async fn a_large_payload_goes_there_and_back_whole() {
    let (peers, _dir, _stop) = peers().await;
    let payload: Bytes = (0..20 << 20).map(|at: u32| at as u8).collect::<Vec<_>>().into();
    let ask = Ask::Produce { key: key(), patience_ms: 1 };
    let answer: Parcel<Answer> = peers.call(1, &ask, payload.clone()).await.unwrap();
    assert_eq!(answer.head, Answer::Offsets { log_start: 1, hw: 2 });
    assert!(answer.payload == payload);
}

#[tokio::test]
async fn acks_go_one_way_and_marks_the_other_for_as_long_as_both_live() {
    let (peers, _dir, stop) = peers().await;
    let placed = Placed { key: key(), topic_id: uuid::Uuid::nil() };
    let follow = Follow { spu: 2, placed, epoch: 1, position: 0, last_epoch: None };
    let (acks, taken) = tokio::sync::mpsc::channel(1);
    let behind = tokio_stream::wrappers::ReceiverStream::new(taken);
    let mut fed = peers.ask(1, &Ask::Follow(follow), Bytes::new(), behind).await.unwrap();
    for durable in 0..100 {
        acks.send(encode(&Ack { durable }, 0).unwrap()).await.unwrap();
        let mark = fed.next::<Fed>().await.unwrap().unwrap();
        assert_eq!(mark.head, Fed::Batches { hw: durable, log_start: 0, epoch_start: None });
    }
    stop.cancel();
    while let Ok(Some(_)) = fed.next::<Fed>().await {}
}

#[tokio::test]
async fn whoever_cannot_be_reached_was_not_asked() {
    let (peers, _dir, _stop) = peers().await;
    for spu in [2, 3] {
        let asked = peers.call::<Answer>(spu, &Ask::Offsets { key: key() }, Bytes::new()).await;
        assert!(matches!(asked, Err(PeerError::Unreachable { .. })), "SPU {spu}: {asked:?}");
    }
}
