//! A cluster without TLS: who is served in plaintext, and that one with TLS never is.

use std::sync::Arc;

use cluster_settings::{AccessEntry, LOCAL_PRINCIPAL, Role, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Probe;
use super::fixture::{Client, Cluster, DEADLINE, DOMAIN, Running, request};
use crate::access::{Policy, PolicyError};
use crate::tls::ServerName;

/// Of a cluster as somebody has it on a laptop.
fn plain(cluster: &Cluster) -> Settings {
    let mut settings = cluster.settings();
    settings.identity = None;
    settings.access.entries =
        vec![AccessEntry { principal: LOCAL_PRINCIPAL, role: Role::Admin, rules: None }];
    settings
}

async fn server(address: &str, settings: Settings) -> Running {
    let policy = watch::Sender::new(Some(Arc::new(Policy::build(settings, None).unwrap())));
    Running::on(address, ServerName::Sc, policy, Arc::new(Probe), Arc::default()).await
}

/// What a client gets that sends this request without TLS.
async fn asked_in_plaintext(socket: &mut TcpStream, key: u16) -> Option<Vec<u8>> {
    let ask = async {
        socket.write_all(&request(key, 2, &[])).await.ok()?;
        let length = socket.read_i32().await.ok()?;
        let mut answer = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut answer).await.ok()?;
        Some(answer)
    };
    timeout(DEADLINE, ask).await.expect("the server neither answers nor closes")
}

async fn gets_in(server: &Running) -> bool {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    asked_in_plaintext(&mut socket, 18).await.is_some()
}

#[tokio::test]
async fn whoever_is_on_the_machine_has_the_rights_that_the_list_gives_the_local_principal() {
    let cluster = Cluster::new();
    let server = server("tcp+plain:127.0.0.1:0", plain(&cluster)).await;
    let mut watching = TcpStream::connect(server.address).await.unwrap();
    assert!(asked_in_plaintext(&mut watching, 2).await.is_some());
    let mut user = plain(&cluster);
    user.access.entries[0].role = Role::User;
    server.change(user);
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, watching.read_to_end(&mut rest)).await.expect("what it lost, it goes on with");
    assert!(gets_in(&server).await);
    let mut nobody = plain(&cluster);
    nobody.access.entries.clear();
    server.change(nobody);
    assert!(!gets_in(&server).await);
}

#[tokio::test]
async fn a_cluster_with_tls_serves_nobody_in_plaintext() {
    let cluster = Cluster::new();
    // Even if its list named the local principal.
    let mut settings = cluster.settings();
    settings.access.entries.push(AccessEntry { principal: LOCAL_PRINCIPAL, role: Role::Admin, rules: None });
    for address in ["tcp+plain:127.0.0.1:0", "tcp:127.0.0.1:0"] {
        assert!(!gets_in(&server(address, settings.clone()).await).await, "{address}");
    }
    let server = server("tcp+plain:127.0.0.1:0", plain(&cluster)).await;
    let mut inside = TcpStream::connect(server.address).await.unwrap();
    assert!(asked_in_plaintext(&mut inside, 18).await.is_some());
    server.change(settings);
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, inside.read_to_end(&mut rest)).await.expect("who is inside stays inside");
    assert!(!gets_in(&server).await);
}

#[tokio::test]
async fn no_certificate_makes_a_client_the_local_principal() {
    let cluster = Cluster::new();
    let mut settings = cluster.settings();
    settings.access.entries.push(AccessEntry { principal: LOCAL_PRINCIPAL, role: Role::Admin, rules: None });
    let server = server("tcp:127.0.0.1:0", settings).await;
    let connector = cluster.connector(Some(&cluster.client(LOCAL_PRINCIPAL, 1)));
    let mut client = Client::connect(&server, &connector, DOMAIN).await.unwrap();
    assert!(client.call(18, 2, &[]).await.is_none());
}

#[tokio::test]
async fn a_listener_with_tls_serves_nobody_under_settings_without() {
    let cluster = Cluster::new();
    let server = server("tcp:127.0.0.1:0", plain(&cluster)).await;
    assert!(!gets_in(&server).await);
    let connector = cluster.connector(Some(&cluster.client(cluster.admin, 1)));
    assert!(Client::connect(&server, &connector, DOMAIN).await.is_err());
}

#[test]
fn settings_never_take_a_clusters_tls_away() {
    let cluster = Cluster::new();
    let with = Policy::build(cluster.settings(), None).unwrap();
    let refused = Policy::build(plain(&cluster), Some(&with));
    assert!(matches!(refused, Err(PolicyError::NoIdentity)));
    let without = Policy::build(plain(&cluster), None).unwrap();
    assert!(Policy::build(plain(&cluster), Some(&without)).is_ok());
    assert!(Policy::build(cluster.settings(), Some(&without)).is_ok_and(|policy| policy.tls.is_some()));
}
