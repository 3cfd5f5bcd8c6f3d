//! Metrics, health and stop.

use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::backends::Named;
use crate::support::hellos::{hello_naming, real_hello};
use crate::support::{Folder, answer, call, cluster, until, within};

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    String::from_utf8(call(address, request.as_bytes()).await.unwrap()).unwrap()
}

#[tokio::test]
async fn metrics_tell_what_became_of_connections_and_health_tells_of_the_table() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "metrics_listen = '127.0.0.1:0'").await;
    let metrics = running.metrics_address.unwrap();
    call(running.address, &hello_naming(b"b.test")).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let hello = real_hello("a.test");
    client.write_all(&hello).await.unwrap();
    let mut echoed = vec![0; 6 + hello.len()];
    within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    let text = get(metrics, "/metrics").await;
    let id = uuid::Uuid::from_u128(1);
    for line in [
        "gateway_connections_total{result=\"routed\"} 1".to_owned(),
        "gateway_connections_total{result=\"unknown_name\"} 1".to_owned(),
        "gateway_connections_open 1".to_owned(),
        "gateway_sockets 2".to_owned(),
        "gateway_table_clusters 1".to_owned(),
        format!("gateway_cluster_connections_open{{cluster=\"{id}\"}} 1"),
        format!("gateway_cluster_bytes_total{{cluster=\"{id}\",direction=\"in\"}} {}", hello.len()),
        format!("gateway_cluster_bytes_total{{cluster=\"{id}\",direction=\"out\"}} {}", hello.len() + 6),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("gateway_table_age_seconds"), "no database ever agreed");
    for path in ["/livez", "/readyz", "/healthz"] {
        assert!(get(metrics, path).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn without_any_table_health_says_why() {
    let folder = Folder::new();
    let running =
        gateway::server::Running::start(folder.config("metrics_listen = '127.0.0.1:0'")).await.unwrap();
    let ready = get(running.metrics_address.unwrap(), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("no table"), "{ready}");
    assert!(get(running.metrics_address.unwrap(), "/livez").await.starts_with("HTTP/1.1 200"));
    running.stop().await;
}

/// A client with an open connection through the gateway.
async fn connected(address: std::net::SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let hello = real_hello("a.test");
    client.write_all(&hello).await.unwrap();
    let mut echoed = vec![0; 6 + hello.len()];
    within("the echo", client.read_exact(&mut echoed)).await.unwrap();
    client
}

#[tokio::test]
async fn a_gateway_that_drains_first_says_so_then_lets_nobody_in_and_those_inside_go_on() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let more = "metrics_listen = '127.0.0.1:0'\nunready_seconds = 1\ndrain_seconds = 600";
    let running = folder.gateway(clusters, more).await;
    let metrics = running.metrics_address.unwrap();
    let mut inside = connected(running.address).await;
    let (hurry, hurried) = tokio::sync::oneshot::channel::<()>();
    let steps = async {
        until("it is not ready", async || get(metrics, "/readyz").await.starts_with("HTTP/1.1 503")).await;
        assert!(get(metrics, "/livez").await.starts_with("HTTP/1.1 200"));
        let mut late = connected(running.address).await;
        until("nobody is let in", async || TcpStream::connect(running.address).await.is_err()).await;
        for client in [&mut inside, &mut late] {
            client.write_all(b"still").await.unwrap();
            within("the echo", client.read_exact(&mut [0; 5])).await.unwrap();
        }
        // A second signal: nobody is waited for any more.
        hurry.send(()).unwrap();
    };
    let drained = running.drain(async {
        let _ = hurried.await;
    });
    within("the drain", async { tokio::join!(steps, drained) }).await;
    running.stop().await;
    assert_eq!(answer(&mut inside).await.unwrap_or_default(), b"");
}

#[tokio::test]
async fn a_drain_ends_with_the_last_connection() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    let clusters = vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])];
    let running = folder.gateway(clusters, "drain_seconds = 600").await;
    let inside = connected(running.address).await;
    let leave = async {
        until("nobody is let in", async || TcpStream::connect(running.address).await.is_err()).await;
        drop(inside);
    };
    within("the drain", async { tokio::join!(leave, running.drain(std::future::pending())) }).await;
    running.stop().await;
}

#[tokio::test]
async fn sigterm_ends_connections_and_the_program_leaves_with_zero() {
    let folder = Folder::new();
    let _server = Named::at(folder.path("sc"), "tenant");
    folder.keep_table(vec![cluster(1, "a.test", &[("", &folder.socket("sc"))])]);
    std::fs::write(folder.path("config"), folder.config_text("")).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["serve", "--config"])
        .arg(folder.path("config"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let published = folder.path("address");
    until("the address is published", async || published.exists()).await;
    let address: std::net::SocketAddr = std::fs::read_to_string(&published).unwrap().parse().unwrap();
    let mut routed = TcpStream::connect(address).await.unwrap();
    let hello = real_hello("a.test");
    routed.write_all(&hello).await.unwrap();
    let mut echoed = vec![0; 6 + hello.len()];
    within("the echo", routed.read_exact(&mut echoed)).await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let pid = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(answer(&mut routed).await.unwrap_or_default(), b"");
    answer(&mut silent).await;
    let mut status = None;
    until("the program ends", async || {
        status = program.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn a_configuration_that_does_not_work_says_what_to_change() {
    let folder = Folder::new();
    std::fs::write(folder.path("config"), folder.config_text("max_conections = 3")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["serve", "--config"])
        .arg(folder.path("config"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("max_conections"));
}
