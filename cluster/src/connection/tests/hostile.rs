//! Bytes that no client of good will sends.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Probe;
use super::fixture::{Client, Cluster, DEADLINE, Running, request, until};
use crate::connection::{ConnectionLimit, ListenAddress, Listener, Server, Timing, serve};
use crate::tls::ServerName;

async fn running(cluster: &Cluster) -> Running {
    Running::start(ServerName::Sc, cluster.settings(), Arc::new(Probe)).await
}

fn with_length(length: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

#[tokio::test]
async fn hostile_frames_end_their_connection_and_no_other() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let mut good = Client::admitted(&server, &cluster, cluster.admin).await;
    for (what, bytes) in [
        ("length 0", with_length(0, &[])),
        ("length -1", with_length(-1, &[])),
        ("length i32::MIN", with_length(i32::MIN, &[])),
        ("2 GiB", with_length(i32::MAX, &[1; 100])),
        ("one above the cap", with_length((1 << 20) + 1, &[])),
        ("shorter than a header", with_length(3, &[0, 18, 0])),
        ("a client id beyond the frame", with_length(12, &[0, 18, 0, 2, 0, 0, 0, 1, 0x7f, 0xff, 1, 1])),
        ("a client id that is not text", with_length(12, &[0, 18, 0, 2, 0, 0, 0, 1, 0, 2, 0xff, 0xff])),
        ("an unknown key", request(4242, 1, &[])),
        ("a frame that stops", with_length(100, &[0, 18])),
        ("half a length", vec![0, 0]),
        ("a service that panics", request(4, 2, &[])),
        ("a future that panics", request(5, 2, &[])),
    ] {
        let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
        client.send(&bytes).await;
        client.closed().await;
        assert!(good.call(18, 2, &[]).await.is_some(), "{what}");
    }
    drop(good);
    until("every place is free again", || server.usage.connections.get() == 0).await;
}

#[tokio::test]
async fn bytes_that_are_not_tls_or_stop_early_are_closed() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let mut endless = vec![0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x7f, 0xff, 0xff];
    endless.extend([0; 16_384 - 4]);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 4096], &[0x16, 0x03, 0x01, 0x02], &[], &endless] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, socket.read_to_end(&mut rest)).await.expect("closed");
    }
    until("all were refused", || server.usage.connections_refused.get() == 5).await;
}

#[tokio::test]
async fn a_gateways_socket_takes_nothing_without_a_proxy_header() {
    let cluster = Cluster::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sc.sock");
    let running = running(&cluster).await;
    let listener = Listener::bind(ListenAddress::Unix(path.clone())).await.unwrap();
    let server = Server {
        name: ServerName::Sc,
        policy: running.policy.subscribe(),
        limit: Arc::new(ConnectionLimit::default()),
        usage: Arc::clone(&running.usage),
        timing: Timing { handshake: std::time::Duration::from_millis(300), ..Timing::default() },
        stop: running.stop.clone(),
    };
    tokio::spawn(serve(vec![listener], Arc::new(server), Arc::new(Probe)));
    let connector = cluster.connector(Some(&cluster.client(cluster.admin, 1)));
    let name = || rustls_pki_types::ServerName::try_from(super::fixture::DOMAIN).unwrap();

    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 1, 127, 0, 0, 1, 0x10, 0, 0x20, 0]);
    let mut socket = UnixStream::connect(&path).await.unwrap();
    // Byte by byte, since a header may come in pieces.
    for byte in header {
        socket.write_all(&[byte]).await.unwrap();
    }
    let mut tls = timeout(DEADLINE, connector.connect(name(), socket)).await.unwrap().unwrap();
    tls.write_all(&request(18, 2, &[])).await.unwrap();
    assert!(timeout(DEADLINE, tls.read_i32()).await.unwrap().is_ok());

    let bare = UnixStream::connect(&path).await.unwrap();
    assert!(timeout(DEADLINE, connector.connect(name(), bare)).await.unwrap().is_err());
}

#[tokio::test]
async fn announced_lengths_cost_no_memory() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let before = resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..90 {
        let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
        client.send(&with_length(1 << 20, &[0; 10])).await;
        clients.push(client);
    }
    until("all are in", || server.usage.connections_accepted.get() == 90).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
