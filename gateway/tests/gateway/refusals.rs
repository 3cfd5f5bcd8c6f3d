//! Every bad hello, all answered alike.

use gateway::hello::{HelloReader, Progress, refuse::REFUSAL};
use gateway::observe::Refusal;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::backends::Named;
use crate::support::hellos::{hello_message, hello_naming, in_records, real_hello};
use crate::support::{Folder, answer, call, cluster};

#[tokio::test]
async fn every_bad_hello_gets_the_same_bytes_and_reaches_no_cluster() {
    let folder = Folder::new();
    let server = Named::at(folder.path("sc"), "tenant");
    let sc = folder.socket("sc");
    let absent = folder.socket("absent");
    let full = gateway::routes::ClusterRecord { max_connections: 0, ..cluster(2, "full.test", &[("", &sc)]) };
    let clusters = vec![cluster(1, "a.test", &[("", &sc), ("down", &absent)]), full];
    let running = folder.gateway(clusters, "handshake_timeout_ms = 300\nserver_away_timeout_ms = 300").await;
    let long = "l".repeat(63);
    let too_long = [&long[..]; 5].join(".");
    let cases: Vec<(&str, Vec<u8>, Refusal)> = vec![
        ("an unknown name", hello_naming(b"b.test"), Refusal::Unknown),
        ("an unknown server of a known cluster", hello_naming(b"main-9.a.test"), Refusal::Unknown),
        ("the end of a known name", hello_naming(b"test"), Refusal::Unknown),
        ("a trailing dot", hello_naming(b"a.test."), Refusal::Unknown),
        ("a server that is down", hello_naming(b"down.a.test"), Refusal::Unreachable),
        ("a cluster at its limit", hello_naming(b"full.test"), Refusal::ClusterConnections),
        ("no name", in_records(&hello_message(None, 0), 16_000), Refusal::Nameless),
        ("an empty list of names", in_records(&hello_message(Some(&[]), 0), 16_000), Refusal::Malformed),
        ("an empty name", hello_naming(b""), Refusal::Malformed),
        (
            "two names",
            in_records(&hello_message(Some(&[b"a.test", b"a.test"]), 0), 16_000),
            Refusal::Malformed,
        ),
        ("an IPv4 literal", hello_naming(b"127.0.0.1"), Refusal::Nameless),
        ("an IPv6 literal", hello_naming(b"::1"), Refusal::Nameless),
        ("NUL inside", hello_naming(b"a.test\0.evil"), Refusal::Malformed),
        ("a wildcard", hello_naming(b"*.a.test"), Refusal::Malformed),
        ("not ASCII", hello_naming("ä.test".as_bytes()), Refusal::Malformed),
        ("256 bytes", hello_naming(&[b'a'; 256]), Refusal::Malformed),
        ("labels of more than 253 bytes", hello_naming(too_long.as_bytes()), Refusal::Malformed),
        (
            "a hello of 20 KiB",
            in_records(&hello_message(Some(&[b"a.test"]), 20_000), 8_000),
            Refusal::TooLong,
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec(), Refusal::Malformed),
        ("a PROXY header", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0cAAAABBBBCCDD".to_vec(), Refusal::Malformed),
        ("half a hello", real_hello("a.test")[..400].to_vec(), Refusal::Late),
        ("silence", Vec::new(), Refusal::Late),
    ];
    for (name, bytes, reason) in cases {
        let before = running.gateway.counters.refused(reason);
        let answer = call(running.address, &bytes).await;
        assert_eq!(answer.as_deref(), Some(&REFUSAL[..]), "{name}");
        assert_eq!(running.gateway.counters.refused(reason), before + 1, "{name} is not {}", reason.word());
    }
    assert_eq!(server.served(), 0);
    assert_eq!(running.gateway.counters.routed(), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_good_hello_gets_through_however_it_is_cut_up() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "").await;
    let message = hello_message(Some(&[b"a.test"]), 0);
    let real = real_hello("a.test");
    assert!(real.len() > 1_200, "the hello carries no post-quantum key share");
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("whole", real.clone(), usize::MAX),
        ("post-quantum in single bytes", real.clone(), 1),
        ("upper case", hello_naming(b"A.TeSt"), usize::MAX),
        ("two records", in_records(&message, message.len() / 2 + 1), usize::MAX),
        ("two records in single bytes", in_records(&message, message.len() / 2 + 1), 1),
        ("records of one byte", in_records(&message, 1), usize::MAX),
        ("records of one byte in single bytes", in_records(&message, 1), 1),
        ("with what follows", [real, b"what follows".to_vec()].concat(), 700),
    ];
    for (name, bytes, size) in cases {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.set_nodelay(true).unwrap();
        for piece in bytes.chunks(size) {
            client.write_all(piece).await.unwrap();
        }
        client.shutdown().await.unwrap();
        let expected = [b"tenant".to_vec(), bytes].concat();
        assert!(answer(&mut client).await == Some(expected), "{name} came back altered");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_hello_is_whole_leaves_nothing_behind() {
    let folder = Folder::new();
    let running = folder.gateway(vec![], "").await;
    for _ in 0..50 {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client.write_all(&[22, 3]).await.unwrap();
    }
    let gateway = running.gateway.clone();
    crate::support::until("all places are free", async || {
        gateway.counters.refused(Refusal::Gone) == 50
            && gateway.half_open.is_empty()
            && gateway.sockets.taken() == 0
            && gateway.connections.taken() == 0
    })
    .await;
    running.stop().await;
}

/// What rustls itself makes of the bytes when they come all at once.
fn oracle(mut bytes: &[u8]) -> Option<Option<String>> {
    let mut acceptor = rustls::server::Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted.client_hello().server_name().map(str::to_owned));
        }
    }
    None
}

fn ours(bytes: &[u8], cuts: &[usize]) -> Option<Option<String>> {
    let mut reader = HelloReader::default();
    let mut at = 0;
    for end in cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]) {
        if end <= at {
            continue;
        }
        match reader.take(&bytes[at..end]) {
            Progress::More => {}
            Progress::Named(name) => return Some(Some(name)),
            Progress::Nameless => return Some(None),
            Progress::Malformed => return None,
        }
        at = end;
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn cuts_and_damage_never_lead_to_another_name_than_rustls_reads(
        name in "[a-z]{1,20}\\.test",
        record in 1_usize..600,
        mut cuts in prop::collection::vec(any::<usize>(), 0..12),
        damage in prop::option::of((any::<usize>(), any::<u8>())),
    ) {
        let mut bytes = in_records(&hello_message(Some(&[name.as_bytes()]), 300), record);
        if let Some((at, value)) = damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let length = bytes.len();
        cuts.sort_unstable_by_key(|cut| cut % (length + 1));
        prop_assert_eq!(ours(&bytes, &cuts), oracle(&bytes));
    }

    #[test]
    fn noise_is_never_a_name(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(ours(&bytes, &[1, 5, 9]), oracle(&bytes));
    }
}
