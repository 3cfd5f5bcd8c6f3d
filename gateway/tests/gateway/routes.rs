//! Table changes, and the table file.

use std::sync::Arc;

use gateway::hello::refuse::REFUSAL;
use gateway::routes::{Snapshot, TableFile};
use gateway::server::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::backends::{Manual, Named};
use crate::support::hellos::real_hello;
use crate::support::{Folder, call, cluster, until, within};

async fn connected(running: &Running, name: &str, greeting: &str) -> TcpStream {
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello(name);
    client.write_all(&hello).await.unwrap();
    let mut echoed = vec![0; greeting.len() + hello.len()];
    within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    assert!(echoed.starts_with(greeting.as_bytes()), "reached another cluster");
    client
}

async fn apply(running: &Running, clusters: Vec<gateway::routes::ClusterRecord>) -> usize {
    running.gateway.routes.apply(Arc::new(Snapshot { clusters })).await
}

#[tokio::test]
async fn a_removed_route_resets_its_connections_and_no_others() {
    let folder = Folder::new();
    let _a = Named::at(folder.path("a"), "aaaa");
    let _b = Named::at(folder.path("b"), "bbbb");
    let a = cluster(1, "a.test", &[("", &folder.socket("a")), ("main-0", &folder.socket("a"))]);
    let b = cluster(2, "b.test", &[("", &folder.socket("b"))]);
    let running = folder.gateway(vec![a.clone(), b.clone()], "").await;
    let mut sc = connected(&running, "a.test", "aaaa").await;
    let mut spu = connected(&running, "main-0.a.test", "aaaa").await;
    let mut other = connected(&running, "b.test", "bbbb").await;

    let without_spu = cluster(1, "a.test", &[("", &folder.socket("a"))]);
    assert_eq!(apply(&running, vec![without_spu, b.clone()]).await, 1);
    assert!(within("the cut", spu.read(&mut [0; 1])).await.is_err(), "not a reset");
    for stream in [&mut sc, &mut other] {
        stream.write_all(b"x").await.unwrap();
        within("the echo", stream.read_exact(&mut [0; 1])).await.unwrap();
    }
    assert_eq!(apply(&running, vec![b]).await, 1);
    assert!(within("the cut", sc.read(&mut [0; 1])).await.is_err(), "not a reset");
    other.write_all(b"x").await.unwrap();
    within("the echo", other.read_exact(&mut [0; 1])).await.unwrap();
    assert_eq!(call(running.address, &real_hello("a.test")).await.as_deref(), Some(&REFUSAL[..]));
    running.stop().await;
}

#[tokio::test]
async fn an_address_used_again_never_serves_a_client_of_the_former_cluster() {
    let folder = Folder::new();
    let path = folder.path("shared");
    let running = folder.gateway(vec![], "").await;
    let mut former: Option<TcpStream> = None;
    for cycle in 0..200_u32 {
        let name: &'static str = if cycle % 2 == 0 { "even" } else { "odd!" };
        let server = Named::at(path.clone(), name);
        let domain = format!("{}.test", name.trim_end_matches('!'));
        let record = cluster(u128::from(cycle) + 1, &domain, &[("", &folder.socket("shared"))]);
        apply(&running, vec![record]).await;
        if let Some(mut former) = former.take() {
            assert_eq!(former.read(&mut [0; 1]).await.unwrap_or(0), 0, "a former client was served");
        }
        let other = if cycle % 2 == 0 { "odd.test" } else { "even.test" };
        let refused = call(running.address, &real_hello(other)).await;
        assert_eq!(refused.as_deref(), Some(&REFUSAL[..]), "cycle {cycle}");
        former = Some(connected(&running, &domain, name).await);
        assert_eq!(server.served(), 1, "cycle {cycle}");
        server.kill().await;
        std::fs::remove_file(&path).unwrap();
    }
    running.stop().await;
}

#[tokio::test]
async fn a_route_that_goes_while_its_server_is_called_carries_no_byte() {
    let folder = Folder::new();
    // A listener whose queue is full makes the gateway wait in the middle of connecting.
    let listener =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
    let listener = listener.unwrap();
    let address = rustix::net::SocketAddrUnix::new(folder.path("sc")).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _fills_the_queue = tokio::net::UnixStream::connect(folder.path("sc")).await.unwrap();
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "connect_timeout_ms = 60000").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    let usage = running.gateway.book.of(uuid::Uuid::from_u128(1));
    until("the call is under way", async || usage.totals().open == 1).await;
    apply(&running, vec![]).await;
    let answer = crate::support::answer(&mut client).await;
    assert_eq!(answer.as_deref(), Some(&REFUSAL[..]));
    assert_eq!(usage.totals(), gateway::usage::Totals::default());
    running.stop().await;
}

#[tokio::test]
async fn a_full_queue_of_a_server_is_waited_for() {
    let folder = Folder::new();
    let listener =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None);
    let listener = listener.unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(folder.path("sc")).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let fills_the_queue = tokio::net::UnixStream::connect(folder.path("sc")).await.unwrap();
    let running = folder.gateway(vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])], "").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    let usage = running.gateway.book.of(uuid::Uuid::from_u128(1));
    until("the call is under way", async || usage.totals().open == 1).await;
    drop(rustix::net::accept(&listener).unwrap());
    drop(fills_the_queue);
    until("the server is reached", async || usage.totals().opened == 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_is_started_again_is_waited_for() {
    let folder = Folder::new();
    let (sc, spu) = (folder.socket("sc"), folder.socket("spu"));
    let clusters = vec![cluster(1, "a.test", &[("", &sc), ("main-0", &spu)])];
    let running = folder.gateway(clusters, "server_away_timeout_ms = 60000").await;
    let usage = running.gateway.book.of(uuid::Uuid::from_u128(1));
    for (count, (name, file)) in [("a.test", "sc"), ("main-0.a.test", "spu")].into_iter().enumerate() {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(&real_hello(name)).await.unwrap();
        until("the call is under way", async || usage.totals().open == 1).await;
        let server = Manual::at(folder.path(file));
        let served = server.accept().await;
        until("the server is reached", async || usage.totals().opened == count as u64 + 1).await;
        drop((client, served));
        until("the connection is over", async || usage.totals().open == 0).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_route_that_goes_while_its_server_is_away_is_refused_at_once() {
    let folder = Folder::new();
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "server_away_timeout_ms = 60000").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    let usage = running.gateway.book.of(uuid::Uuid::from_u128(1));
    until("the call is under way", async || usage.totals().open == 1).await;
    apply(&running, vec![]).await;
    assert_eq!(crate::support::answer(&mut client).await.as_deref(), Some(&REFUSAL[..]));
    running.stop().await;
}

#[tokio::test]
async fn without_a_database_the_kept_table_serves_everyone() {
    let folder = Folder::new();
    let manual = Manual::at(folder.path("sc"));
    let running = folder.gateway(vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])], "").await;
    let published = std::fs::read_to_string(folder.path("address")).unwrap();
    assert_eq!(published, running.address.to_string());
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    manual.accept().await;
    running.stop().await;
}

#[tokio::test]
async fn a_damaged_table_file_serves_nobody_and_stops_nothing() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    folder.keep_table(vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])]);
    let good = std::fs::read(folder.path("table")).unwrap();
    let mut flipped = good.clone();
    let at = flipped.len() - 5;
    flipped[at] ^= 4;
    for bad in [&flipped[..], &good[..good.len() / 2], &[], &[0xff; 4096]] {
        std::fs::write(folder.path("table"), bad).unwrap();
        let running = Running::start(folder.config("")).await.unwrap();
        assert!(running.gateway.routes.snapshot().is_none());
        assert_eq!(call(running.address, &real_hello("a.test")).await.as_deref(), Some(&REFUSAL[..]));
        running.stop().await;
    }
    std::fs::write(folder.path("table"), good).unwrap();
    assert_eq!(TableFile::new(folder.path("table")).read().unwrap().clusters.len(), 1);
}
