//! Order and back-pressure.

use std::sync::Arc;

use super::Probe;
use super::fixture::{Client, Cluster, Running, request, until};
use crate::tls::ServerName;

#[tokio::test]
async fn more_requests_than_may_be_in_flight_are_all_answered() {
    let cluster = Cluster::new();
    let server = Running::start(ServerName::Sc, cluster.settings(), Arc::new(Probe)).await;
    let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
    let mut burst = Vec::new();
    for _ in 0..500 {
        burst.extend(request(1, 2, &[0; 100]));
        burst.extend(request(18, 2, &[]));
    }
    client.send(&burst).await;
    for n_answered in 0..1000 {
        assert!(client.response().await.is_some(), "after {n_answered}");
    }
    assert_eq!(server.usage.requests.get(), 1000);
}

#[tokio::test]
async fn a_consumer_that_does_not_read_is_cut() {
    let cluster = Cluster::new();
    let server = Running::start(ServerName::Sc, cluster.settings(), Arc::new(Probe)).await;
    let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
    client.send(&request(3, 2, &[])).await;
    until("it is in", || server.usage.connections.get() == 1).await;
    until("it is out", || server.usage.connections.get() == 0).await;
    // What was made for it is bounded by its outbox and the socket's buffers.
    assert!(server.usage.bytes_out.get() < 64 << 20);
}

#[tokio::test]
async fn the_last_answers_are_written_before_a_connection_closes() {
    let cluster = Cluster::new();
    let server = Running::start(ServerName::Sc, cluster.settings(), Arc::new(Probe)).await;
    for _ in 0..20 {
        let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
        client.send(&request(18, 2, &[])).await;
        tokio::io::AsyncWriteExt::shutdown(&mut client.0).await.unwrap();
        assert!(client.response().await.is_some());
    }
}
