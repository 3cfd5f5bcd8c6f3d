//! Per address, per cluster, in all.

use gateway::hello::refuse::REFUSAL;
use gateway::observe::Refusal;
use gateway::routes::ClusterRecord;
use gateway::server::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::backends::Named;
use crate::support::hellos::real_hello;
use crate::support::{Folder, answer, cluster, until, within};

/// A client from this loopback address that has sent its hello.
async fn caller(running: &Running, from: [u8; 4], name: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut client = socket.connect(running.address).await.unwrap();
    // Who is refused at accept may find the connection closed already.
    let _ = client.write_all(&real_hello(name)).await;
    client
}

const HOME: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

async fn is_served(client: &mut TcpStream) -> bool {
    let mut first = [0; 6];
    match within("an answer", client.read_exact(&mut first)).await {
        Ok(_) => &first == b"tenant",
        Err(_) => false,
    }
}

struct World {
    running: Running,
    _server: Named,
    _folder: Folder,
}

async fn world(max_connections: u32, more: &str) -> World {
    let folder = Folder::new();
    let server = Named::at(folder.path("sc"), "tenant");
    let sc = folder.socket("sc");
    let limited = ClusterRecord { max_connections, ..cluster(1, "a.test", &[("", &sc)]) };
    let running = folder.gateway(vec![limited, cluster(2, "b.test", &[("", &sc)])], more).await;
    World { running, _server: server, _folder: folder }
}

#[tokio::test]
async fn a_cluster_at_its_limit_costs_its_neighbour_nothing_and_opens_again() {
    let World { running, .. } = &world(2, "").await;
    let mut first = caller(running, HOME, "a.test").await;
    let mut second = caller(running, HOME, "a.test").await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    let mut third = caller(running, HOME, "a.test").await;
    assert_eq!(answer(&mut third).await.as_deref(), Some(&REFUSAL[..]));
    assert!(is_served(&mut caller(running, HOME, "b.test").await).await);
    let usage = running.gateway.book.of(uuid::Uuid::from_u128(1));
    assert_eq!((usage.totals().opened, usage.totals().refused, usage.totals().open), (2, 1, 2));
    drop(first);
    until("a place is free", async || usage.totals().open == 1).await;
    assert!(is_served(&mut caller(running, HOME, "a.test").await).await);
}

#[tokio::test]
async fn new_connections_of_a_cluster_are_limited_by_rate() {
    let more = "new_connections_per_second_per_cluster = 1\nnew_connections_burst_per_cluster = 3";
    let World { running, .. } = &world(1_000, more).await;
    let mut served = 0;
    for _ in 0..20 {
        served += usize::from(is_served(&mut caller(running, HOME, "a.test").await).await);
    }
    let refused = running.gateway.counters.refused(Refusal::ClusterRate);
    assert!(served >= 3 && refused >= 1 && served as u64 + refused == 20, "{served} served");
    assert!(is_served(&mut caller(running, HOME, "b.test").await).await);
}

#[tokio::test]
async fn one_address_is_limited_and_another_is_not() {
    let World { running, .. } = &world(1_000, "max_connections_per_address = 2").await;
    let mut first = caller(running, HOME, "a.test").await;
    let mut second = caller(running, HOME, "b.test").await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(!is_served(&mut caller(running, HOME, "a.test").await).await);
    assert_eq!(running.gateway.counters.refused(Refusal::AddressConnections), 1);
    assert!(is_served(&mut caller(running, ELSEWHERE, "a.test").await).await);
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_refused() {
    let more = "new_connections_per_second_per_address = 1\nnew_connections_burst_per_address = 2";
    let World { running, .. } = &world(1_000, more).await;
    let mut served = 0;
    for _ in 0..10 {
        served += usize::from(is_served(&mut caller(running, HOME, "a.test").await).await);
    }
    assert!((2..10).contains(&served), "{served} served");
    assert!(running.gateway.counters.refused(Refusal::AddressRate) >= 1);
    assert!(is_served(&mut caller(running, ELSEWHERE, "a.test").await).await);
}

#[tokio::test]
async fn half_open_connections_give_way_oldest_first() {
    let World { running, .. } = &world(1_000, "max_half_open = 3\nhandshake_timeout_ms = 60000").await;
    let mut silent = Vec::new();
    for already in 0..3 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
        let half_open = &running.gateway.half_open;
        until("it is accepted", async || half_open.len() == already + 1).await;
    }
    assert!(is_served(&mut caller(running, HOME, "a.test").await).await);
    assert_eq!(answer(&mut silent[0]).await.as_deref(), Some(&REFUSAL[..]));
    for later in &mut silent[1..] {
        later.write_all(&real_hello("a.test")).await.unwrap();
        assert!(is_served(later).await);
    }
}

#[tokio::test]
async fn half_open_connections_of_one_address_do_not_fill_the_gateway() {
    let more = "max_half_open_per_address = 2\nhandshake_timeout_ms = 60000";
    let World { running, .. } = &world(1_000, more).await;
    let mut silent = Vec::new();
    for already in 0..2 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
        let half_open = &running.gateway.half_open;
        until("it is accepted", async || half_open.len() == already + 1).await;
    }
    assert!(!is_served(&mut caller(running, HOME, "a.test").await).await);
    assert_eq!(running.gateway.counters.refused(Refusal::AddressHalfOpen), 1);
    assert!(is_served(&mut caller(running, ELSEWHERE, "a.test").await).await);
}

#[tokio::test]
async fn a_full_gateway_refuses_and_a_half_open_connection_gives_way_to_a_new_one() {
    let World { running, .. } = &world(1_000, "max_connections = 2\nhandshake_timeout_ms = 60000").await;
    let mut first = caller(running, HOME, "a.test").await;
    assert!(is_served(&mut first).await);
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let half_open = &running.gateway.half_open;
    until("it is accepted", async || half_open.len() == 1).await;
    let mut second = caller(running, HOME, "a.test").await;
    assert!(is_served(&mut second).await);
    assert_eq!(answer(&mut silent).await.as_deref(), Some(&REFUSAL[..]));
    assert!(!is_served(&mut caller(running, HOME, "a.test").await).await);
    assert_eq!(running.gateway.counters.refused(Refusal::Full), 1);
}

#[tokio::test]
async fn a_reconnecting_fleet_is_served_whole() {
    let World { running, .. } = &world(1_000, "").await;
    let mut fleet = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let address = running.address;
        fleet.spawn(async move {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(&real_hello("a.test")).await.unwrap();
            is_served(&mut client).await
        });
    }
    let served = within("the fleet", fleet.join_all()).await;
    assert_eq!(served.iter().filter(|served| **served).count(), 300);
}
