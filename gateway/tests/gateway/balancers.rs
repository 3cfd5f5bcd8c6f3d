//! Behind load balancers: their clients are known by the header, and nobody else may send one.

use gateway::hello::refuse::REFUSAL;
use gateway::observe::Refusal;
use gateway::relay::{SIGNATURE, proxy_header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::backends::{HEADER, Manual, Named};
use crate::support::hellos::real_hello;
use crate::support::{Folder, answer, call, cluster, until, within};

const BALANCED: &str = "trusted_proxies = ['127.0.0.0/8']";

fn from(client: &str) -> Vec<u8> {
    proxy_header(client.parse().unwrap(), "198.51.100.1:9443".parse().unwrap())
}

#[tokio::test]
async fn a_server_is_told_the_client_that_the_balancer_names() {
    let folder = Folder::new();
    let server = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, BALANCED).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("a.test");
    // Byte by byte, and the hello right behind it: nothing of either is lost or taken for the other.
    for byte in from("192.0.2.7:4660") {
        client.write_all(&[byte]).await.unwrap();
    }
    client.write_all(&hello).await.unwrap();
    let (mut served, header) = server.accept().await;
    assert_eq!(header[16..20], [192, 0, 2, 7]);
    assert_eq!(header[24..26], 4660_u16.to_be_bytes());
    let mut seen = vec![0; hello.len()];
    within("the hello", served.read_exact(&mut seen)).await.unwrap();
    assert_eq!(seen, hello);
    running.stop().await;
}

#[tokio::test]
async fn clients_behind_a_balancer_are_limited_each_by_itself() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, &format!("{BALANCED}\nmax_connections_per_address = 1")).await;
    let hello = real_hello("a.test");
    let mut open = Vec::new();
    for client in ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&[from(client), hello.clone()].concat()).await.unwrap();
        let mut echoed = vec![0; 6 + hello.len()];
        within(client, stream.read_exact(&mut echoed)).await.unwrap();
        open.push(stream);
    }
    let again = [from("192.0.2.1:2"), hello.clone()].concat();
    assert_eq!(call(running.address, &again).await.as_deref(), Some(&REFUSAL[..]));
    assert_eq!(running.gateway.counters.refused(Refusal::AddressConnections), 1);
    drop(open);
    until("its place is free", async || {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&again).await.unwrap();
        let mut first = [0; 6];
        within("an answer", stream.read_exact(&mut first)).await.is_ok() && first == *b"tenant"
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_balancer_without_a_good_header_is_refused_like_any_other_bad_hello() {
    let folder = Folder::new();
    let server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, &format!("{BALANCED}\nhandshake_timeout_ms = 300")).await;
    let hello = real_hello("a.test");
    let good = from("192.0.2.1:1");
    let with = |at: usize, byte: u8| {
        let mut header = good.clone();
        header[at] = byte;
        header
    };
    let endless = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 4000]].concat();
    for (name, header) in [
        ("none at all", Vec::new()),
        ("the older version, in words", b"PROXY TCP4 192.0.2.1 198.51.100.1 1 9443\r\n".to_vec()),
        ("another signature", with(0, 0)),
        ("an unknown command", with(12, 0x2f)),
        ("datagrams", with(13, 0x12)),
        ("no addresses", with(13, 0)),
        ("too short for its addresses", with(15, 4)),
        ("longer than anything that balancers send", endless),
        ("two of them", [good.clone(), good.clone()].concat()),
        ("cut off", good[..20].to_vec()),
    ] {
        let bytes = if name == "cut off" { header } else { [header, hello.clone()].concat() };
        assert_eq!(call(running.address, &bytes).await.as_deref(), Some(&REFUSAL[..]), "{name}");
    }
    assert_eq!(server.served(), 0, "not one of them reached the cluster");
    running.stop().await;
}

#[tokio::test]
async fn a_header_from_anybody_else_is_refused_and_names_nobody() {
    let folder = Folder::new();
    let server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "trusted_proxies = ['10.0.0.0/8']").await;
    let hello = real_hello("a.test");
    let lie = [from("192.0.2.1:1"), hello.clone()].concat();
    assert_eq!(call(running.address, &lie).await.as_deref(), Some(&REFUSAL[..]));
    assert_eq!(running.gateway.counters.refused(Refusal::Malformed), 1);
    assert_eq!(server.served(), 0);
    let mut honest = TcpStream::connect(running.address).await.unwrap();
    honest.write_all(&hello).await.unwrap();
    let mut echoed = vec![0; 6 + hello.len()];
    within("who sends none is served", honest.read_exact(&mut echoed)).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_balancer_that_looks_after_us_is_served_under_its_own_address() {
    let folder = Folder::new();
    let server = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, BALANCED).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
    client.write_all(&[local.clone(), real_hello("a.test")].concat()).await.unwrap();
    let (_served, header) = server.accept().await;
    assert_eq!((header.len(), &header[16..20]), (HEADER, &[127, 0, 0, 1][..]));
    // A check that ends after the header, or before it, is no fault of anybody's.
    let mut check = TcpStream::connect(running.address).await.unwrap();
    check.write_all(&local).await.unwrap();
    check.shutdown().await.unwrap();
    answer(&mut check).await;
    until("it is forgotten", async || running.gateway.half_open.is_empty()).await;
    running.stop().await;
}
