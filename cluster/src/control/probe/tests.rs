use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::*;
use crate::access::Policy;
use crate::connection::tests::fixture::{Cluster, DEADLINE};
use crate::internal::Dialler;

async fn ask(probe: &Probe, request: &str) -> String {
    let mut socket = TcpStream::connect(probe.address()).await.unwrap();
    socket.write_all(format!("{request} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    // To the end: one connection is one request.
    timeout(DEADLINE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.strip_prefix("HTTP/1.1 ").unwrap().to_owned()
}

#[tokio::test]
async fn an_spu_is_ready_with_settings_and_an_sc_until_it_stops() {
    let stop = CancellationToken::new();
    let probe = Probe::listen("127.0.0.1:0", Arc::default(), stop.clone()).await.unwrap();
    assert!(ask(&probe, "GET /livez").await.starts_with("200"));
    let ready = async || ask(&probe, "GET /readyz").await;
    assert!(ready().await.ends_with("\r\n\r\nstarting\n"));
    let nowhere = Dialler::Unix("/nowhere".into());
    let (link, _) = SpuLink::new("main-0".into(), nowhere, None, Vec::new(), None, stop.clone());
    let (settings, policy) = watch::channel(None);
    probe.started(Facts::Spu { link: link.clone(), policy });
    assert!(ready().await.ends_with("\r\n\r\nno settings yet\n"));
    settings.send_replace(Some(Arc::new(Policy::build(Cluster::new().settings(), None).unwrap())));
    assert!(ready().await.starts_with("503") && ready().await.ends_with("not registered with the SC\n"));
    link.register(Some(5001));
    assert!(ready().await.starts_with("200"));
    stop.cancel();
    assert!(ready().await.ends_with("stopping\n"));
    assert!(ask(&probe, "GET /livez").await.starts_with("200"), "what ends in order lives");
}

#[tokio::test]
async fn nothing_else_is_answered() {
    let probe = Probe::listen("127.0.0.1:0", Arc::default(), CancellationToken::new()).await.unwrap();
    assert!(ask(&probe, "GET /metrics").await.contains("\nfluvio_connections 0\n"));
    for (request, status) in [
        ("GET /v1/health", "404"),
        ("PUT /v1/settings", "404"),
        ("GET /", "404"),
        ("POST /metrics", "405"),
        ("GET /\u{1}", "400"),
    ] {
        assert!(ask(&probe, request).await.starts_with(status), "{request}");
    }
}

#[tokio::test]
async fn those_who_say_nothing_do_not_keep_the_others_out() {
    let probe = Probe::listen("127.0.0.1:0", Arc::default(), CancellationToken::new()).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS + 8 {
        silent.push(TcpStream::connect(probe.address()).await.unwrap());
    }
    assert!(ask(&probe, "GET /livez").await.starts_with("200"));
}
