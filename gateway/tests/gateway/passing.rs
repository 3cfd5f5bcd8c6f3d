//! Bytes both ways, ends and resets.

use std::io::ErrorKind;

use gateway::relay::proxy_header;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::support::backends::{HEADER, Manual, Named, recorder};
use crate::support::hellos::real_hello;
use crate::support::tls::Tls;
use crate::support::{Folder, answer, cluster, until, within};

/// Bytes that show any loss, doubling or change of order.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length / 8).flatten().collect()
}

#[tokio::test]
async fn tls_ends_in_the_cluster_and_big_transfers_arrive_whole_both_ways() {
    let folder = Folder::new();
    let (a, b) = (Tls::of("a.test"), Tls::of("b.test"));
    a.echo_at(folder.path("a-sc"));
    a.echo_at(folder.path("a-0"));
    b.echo_at(folder.path("b-sc"));
    let clusters = vec![
        cluster(1, "a.test", &[("", &folder.socket("a-sc")), ("main-0", &folder.socket("a-0"))]),
        cluster(2, "b.test", &[("", &folder.socket("b-sc"))]),
    ];
    let running = folder.gateway(clusters, "").await;
    let mut transfers = Vec::new();
    for (index, (tls, name)) in
        [(&a, "a.test"), (&a, "main-0.a.test"), (&b, "b.test")].into_iter().enumerate()
    {
        let stream = TcpStream::connect(running.address).await.unwrap();
        let stream = within("a handshake", tls.connect(stream, name)).await.unwrap();
        transfers.push(tokio::spawn(async move {
            let sent = pattern(8 << 20, index as u64 + 7);
            let expected = sent.clone();
            let (mut read, mut write) = tokio::io::split(stream);
            let writer = tokio::spawn(async move {
                write.write_all(&sent).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            within("the echo", read.read_to_end(&mut received)).await.unwrap();
            writer.await.unwrap();
            assert!(received == expected, "the bytes differ");
        }));
    }
    for transfer in transfers {
        transfer.await.unwrap();
    }
    let stream = TcpStream::connect(running.address).await.unwrap();
    assert!(b.connect(stream, "a.test").await.is_err(), "a client of b took a's certificate");
    running.stop().await;
}

#[tokio::test]
async fn a_server_sees_the_clients_address_and_its_first_bytes_unaltered() {
    let folder = Folder::new();
    let mut seen = recorder(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("a.test");
    client.write_all(&hello).await.unwrap();
    client.write_all(b"and more").await.unwrap();
    let local = client.local_addr().unwrap();
    drop(client);
    let seen = within("the record", seen.recv()).await.unwrap();
    assert_eq!(seen[..HEADER], proxy_header(local, running.address));
    assert!(seen[HEADER..] == [&hello[..], b"and more"].concat(), "the client's bytes were altered");
    running.stop().await;
}

#[tokio::test]
async fn a_server_on_tcp_gets_the_same() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp:localhost:{}", listener.local_addr().unwrap().port());
    let running = folder.gateway(vec![cluster(1, "a.test", &[("", &address)])], "").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("a.test");
    client.write_all(&hello).await.unwrap();
    let (mut server, _) = within("a connection", listener.accept()).await.unwrap();
    let mut seen = vec![0; HEADER + hello.len()];
    within("header and hello", server.read_exact(&mut seen)).await.unwrap();
    assert_eq!(seen[..HEADER], proxy_header(client.local_addr().unwrap(), running.address));
    assert!(seen[HEADER..] == hello, "the hello was altered");
    server.write_all(b"welcome").await.unwrap();
    let mut greeting = [0; 7];
    within("the greeting", client.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"welcome");
    running.stop().await;
}

#[tokio::test]
async fn an_end_in_one_direction_leaves_the_other_open() {
    let folder = Folder::new();
    let manual = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "").await;
    let hello = real_hello("a.test");

    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&hello).await.unwrap();
    client.shutdown().await.unwrap();
    let (mut server, _) = manual.accept().await;
    let mut seen = Vec::new();
    within("the client's end", server.read_to_end(&mut seen)).await.unwrap();
    assert!(seen == hello);
    server.write_all(b"still here").await.unwrap();
    drop(server);
    assert_eq!(answer(&mut client).await.unwrap(), b"still here");

    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&hello).await.unwrap();
    let (mut server, _) = manual.accept().await;
    server.write_all(b"done").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), b"done");
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    let mut seen = Vec::new();
    within("the last words", server.read_to_end(&mut seen)).await.unwrap();
    assert!(seen.ends_with(b"last words"));
    drop(server);
    until_nothing_is_open(&running).await;
    running.stop().await;
}

async fn until_nothing_is_open(running: &gateway::server::Running) {
    let gateway = running.gateway.clone();
    until("all places are free", async || {
        gateway.sockets.taken() == 0 && gateway.connections.taken() == 0 && gateway.buffers.lent() == 0
    })
    .await;
}

#[tokio::test]
async fn a_servers_death_resets_its_clients_and_nobody_elses() {
    let folder = Folder::new();
    let doomed = Named::at(folder.path("doomed"), "doomed");
    let _other = Named::at(folder.path("other"), "other!");
    let backends = [("", folder.socket("other")), ("main-0", folder.socket("doomed"))];
    let backends: Vec<_> = backends.iter().map(|(n, a)| (*n, a.as_str())).collect();
    let running = folder.gateway(vec![cluster(1, "a.test", &backends)], "").await;
    let mut clients = Vec::new();
    for name in ["main-0.a.test", "main-0.a.test", "main-0.a.test", "a.test"] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        let hello = real_hello(name);
        client.write_all(&hello).await.unwrap();
        let mut echoed = vec![0; 6 + hello.len()];
        within("the echo", client.read_exact(&mut echoed)).await.unwrap();
        clients.push(client);
    }
    doomed.kill().await;
    let mut spared = clients.pop().unwrap();
    for mut client in clients {
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
        // A client that goes on as if nothing had happened is told by a reset.
        let failed = within("a reset", async {
            loop {
                if let Err(error) = client.write_all(b"x").await {
                    return error.kind();
                }
                tokio::task::yield_now().await;
            }
        });
        assert!(matches!(failed.await, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    }
    spared.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    within("the echo", spared.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"ping");
    running.stop().await;
}

#[tokio::test]
async fn a_hello_that_a_dying_server_did_not_answer_is_given_to_another() {
    let folder = Folder::new();
    let (dying, alive) = (Manual::at(folder.path("one")), Named::at(folder.path("two"), "two!"));
    let (one, two) = (folder.socket("one"), folder.socket("two"));
    let clusters = vec![cluster(1, "a.test", &[("", &two), ("main-0", &one), ("main-1", &two)])];
    let running = folder.gateway(clusters, "").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("main-0.a.test");
    client.write_all(&hello).await.unwrap();
    let (mut stream, _) = dying.accept().await;
    let mut taken = vec![0; hello.len()];
    within("the hello", stream.read_exact(&mut taken)).await.unwrap();
    drop((dying, stream));
    std::fs::remove_file(folder.path("one")).unwrap();
    let mut answer = vec![0; 4 + hello.len()];
    within("the answer", client.read_exact(&mut answer)).await.unwrap();
    assert_eq!((&answer[..4], &answer[4..]), (&b"two!"[..], &hello[..]));
    assert_eq!(alive.served(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_hello_that_a_stopped_server_does_not_answer_is_given_to_another() {
    let folder = Folder::new();
    let (stopped, alive) = (Manual::at(folder.path("one")), Named::at(folder.path("two"), "two!"));
    let (one, two) = (folder.socket("one"), folder.socket("two"));
    let clusters = vec![cluster(1, "a.test", &[("", &two), ("main-0", &one), ("main-1", &two)])];
    let running = folder.gateway(clusters, "answer_timeout_ms = 100").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("main-0.a.test");
    client.write_all(&hello).await.unwrap();
    let mut answer = vec![0; 4 + hello.len()];
    within("the answer", client.read_exact(&mut answer)).await.unwrap();
    assert_eq!((&answer[..4], &answer[4..]), (&b"two!"[..], &hello[..]));
    assert_eq!(alive.served(), 1);
    let (mut stream, _) = stopped.accept().await;
    let mut taken = Vec::new();
    within("its end", stream.read_to_end(&mut taken)).await.unwrap();
    assert_eq!(taken, hello, "it was asked first, and is not asked any more");
    running.stop().await;
}

#[tokio::test]
async fn a_hello_that_no_server_answers_ends_after_a_few() {
    let folder = Folder::new();
    let silent = Manual::at(folder.path("one"));
    let running = folder.gateway(vec![cluster(1, "a.test", &[("", &folder.socket("one"))])], "").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    for _ in 0..3 {
        drop(silent.accept().await);
    }
    assert_eq!(answer(&mut client).await.unwrap_or_default(), b"");
    running.stop().await;
}

#[tokio::test]
async fn a_dying_servers_last_bytes_still_arrive() {
    let folder = Folder::new();
    let manual = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "").await;
    let hello = real_hello("a.test");
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&hello).await.unwrap();
    let (mut server, _) = manual.accept().await;
    let mut seen = vec![0; hello.len()];
    within("the hello", server.read_exact(&mut seen)).await.unwrap();
    server.write_all(b"access revoked").await.unwrap();
    drop(server);
    assert_eq!(answer(&mut client).await.unwrap(), b"access revoked");
    running.stop().await;
}

#[tokio::test]
async fn a_clients_death_closes_its_servers_side() {
    let folder = Folder::new();
    let manual = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "").await;
    for reset in [false, true] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(&real_hello("a.test")).await.unwrap();
        let (mut server, _) = manual.accept().await;
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        let mut seen = Vec::new();
        // The end or a reset; either way the server does not wait for ever.
        let _ = within("the end", server.read_to_end(&mut seen)).await;
        drop(server);
        until_nothing_is_open(&running).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_clients_reset_is_noticed_while_its_server_takes_no_bytes() {
    let folder = Folder::new();
    let manual = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "").await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(&real_hello("a.test")).await.unwrap();
    let (server, _) = manual.accept().await;
    client.set_zero_linger().unwrap();
    let gateway = running.gateway.clone();
    let filler = tokio::spawn(async move {
        let block = vec![0; 64 * 1024];
        let mut quiet = 0;
        while quiet < 20 {
            let sent =
                tokio::time::timeout(std::time::Duration::from_millis(20), client.write_all(&block)).await;
            quiet = if sent.is_err() { quiet + 1 } else { 0 };
        }
        drop(client);
    });
    within("a full pipe", filler).await.unwrap();
    until("the gateway notices", async || gateway.connections.taken() == 0).await;
    drop(server);
    running.stop().await;
}

/// Sends as long as the other side takes; how it ended.
async fn send_until_cut(mut server: UnixStream, bytes: Vec<u8>) -> ErrorKind {
    loop {
        if let Err(error) = server.write_all(&bytes).await {
            return error.kind();
        }
    }
}

#[tokio::test]
async fn a_stuck_reader_is_cut_after_the_write_timeout_and_a_slow_one_is_not() {
    let folder = Folder::new();
    let manual = Manual::at(folder.path("sc"));
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "write_timeout_s = 1").await;
    let sent = pattern(64 * 1024, 3);
    let mut open = Vec::new();
    for _ in ["slow", "stuck"] {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(&real_hello("a.test")).await.unwrap();
        let (server, _) = manual.accept().await;
        open.push((client, tokio::spawn(send_until_cut(server, sent.clone()))));
    }
    let [(mut slow, slow_end), (stuck, stuck_end)] = open.try_into().unwrap();
    // Far slower than its server, and in no hurry for longer than a stuck one is borne with.
    let mut piece = vec![0; sent.len()];
    until("the stuck one is cut", async || {
        slow.read_exact(&mut piece).await.unwrap();
        assert!(piece == sent, "a slow reader got other bytes");
        stuck_end.is_finished()
    })
    .await;
    let cut = within("the cut", stuck_end).await.unwrap();
    assert!(matches!(cut, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    within("a read after that", slow.read_exact(&mut piece)).await.unwrap();
    assert!(piece == sent && !slow_end.is_finished(), "the slow one was cut too");
    drop((slow, stuck));
    within("the end", slow_end).await.unwrap();
    until_nothing_is_open(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn an_idle_timeout_cuts_only_where_nothing_moves() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "idle_timeout_s = 1").await;
    let mut busy = TcpStream::connect(running.address).await.unwrap();
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("a.test");
    for client in [&mut busy, &mut idle] {
        client.write_all(&hello).await.unwrap();
        let mut echoed = vec![0; 6 + hello.len()];
        within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    }
    let gateway = running.gateway.clone();
    until("the idle one is cut", async || {
        busy.write_all(b"x").await.unwrap();
        busy.read_exact(&mut [0; 1]).await.unwrap();
        gateway.connections.taken() == 1
    })
    .await;
    assert!(idle.read(&mut [0; 1]).await.is_err());
    running.stop().await;
}
