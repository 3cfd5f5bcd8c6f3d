//! The way in, and the ways out that are not the client's choice.

use std::sync::Arc;

use cluster_settings::{Role, Settings};

use super::Probe;
use super::fixture::{Authority, Client, ClientIdentity, Cluster, DOMAIN, Leaf, Running, client_from, until};
use crate::tls::ServerName;

async fn running(cluster: &Cluster) -> Running {
    Running::start(ServerName::Sc, cluster.settings(), Arc::new(Probe)).await
}

/// Whether this client gets an answer.
async fn gets_in(server: &Running, cluster: &Cluster, client: Option<&ClientIdentity>, name: &str) -> bool {
    match Client::connect(server, &cluster.connector(client), name).await {
        Ok(mut client) => client.call(18, 2, &[]).await.is_some(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn a_listed_principal_is_let_in_and_nobody_else_is() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let hour = time::Duration::hours(1);
    let leaf = |uris: Vec<String>, lifetime| Leaf { uris, serial: 9, lifetime };
    let own = |leaf: &Leaf| client_from(&cluster.client_ca, leaf);
    let admin = || cluster.uri(cluster.admin);
    let foreign = Authority::new("foreign");
    let elsewhere = Cluster::new();
    for (what, client, expected) in [
        ("admin", own(&leaf(vec![admin()], hour)), true),
        ("user", own(&leaf(vec![cluster.uri(cluster.user)], hour)), true),
        ("foreign CA", client_from(&foreign, &leaf(vec![admin()], hour)), false),
        ("expired", own(&leaf(vec![admin()], -time::Duration::minutes(1))), false),
        ("no URI", own(&leaf(vec![], hour)), false),
        ("two URIs", own(&leaf(vec![admin(), admin()], hour)), false),
        ("another form", own(&leaf(vec![admin().to_uppercase()], hour)), false),
        ("another cluster", own(&leaf(vec![elsewhere.uri(cluster.admin)], hour)), false),
        ("unlisted", own(&leaf(vec![cluster.uri(uuid::Uuid::new_v4())], hour)), false),
    ] {
        assert_eq!(gets_in(&server, &cluster, Some(&client), DOMAIN).await, expected, "{what}");
    }
    assert!(!gets_in(&server, &cluster, None, DOMAIN).await, "no certificate");
    until("every place is free again", || server.usage.connections.get() == 0).await;
}

#[tokio::test]
async fn a_client_that_asks_for_another_server_is_turned_away() {
    let cluster = Cluster::new();
    let sc = running(&cluster).await;
    let spu = ServerName::Spu("main-0".into());
    let spu = Running::start(spu, cluster.settings(), Arc::new(Probe)).await;
    let client = cluster.client(cluster.admin, 1);
    let spu_name = format!("main-0.{DOMAIN}");
    for (server, name, expected) in [
        (&sc, DOMAIN, true),
        (&sc, &spu_name, false),
        (&spu, &spu_name, true),
        (&spu, DOMAIN, false),
        (&spu, &format!("main-1.{DOMAIN}"), false),
    ] {
        assert_eq!(gets_in(server, &cluster, Some(&client), name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn nobody_is_let_in_before_there_are_settings() {
    let cluster = Cluster::new();
    let none = tokio::sync::watch::Sender::new(None);
    let server = Running::with_policy(ServerName::Sc, none, Arc::new(Probe), Arc::default()).await;
    let client = cluster.client(cluster.admin, 1);
    assert!(!gets_in(&server, &cluster, Some(&client), DOMAIN).await);
    let policy = crate::access::Policy::build(cluster.settings(), None).unwrap();
    server.policy.send_replace(Some(Arc::new(policy)));
    assert!(gets_in(&server, &cluster, Some(&client), DOMAIN).await);
}

/// A connected client is cut by this change of the settings, and a new one is not let in.
async fn is_cut_by(change: impl FnOnce(&mut Settings, &Cluster)) {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(client.call(18, 2, &[]).await.is_some());
    let mut settings = cluster.settings();
    settings.generation += 1;
    change(&mut settings, &cluster);
    server.change(settings);
    client.closed().await;
    assert_eq!(server.usage.connections_cut.get(), 1);
    assert!(!gets_in(&server, &cluster, Some(&cluster.client(cluster.admin, 1)), DOMAIN).await);
}

#[tokio::test]
async fn a_revoked_certificate_is_cut_off() {
    is_cut_by(|settings, _| settings.access.revoked_serials.push("01".into())).await;
}

#[tokio::test]
async fn a_removed_principal_is_cut_off() {
    is_cut_by(|settings, cluster| settings.access.entries.retain(|entry| entry.principal != cluster.admin))
        .await;
}

#[tokio::test]
async fn a_change_that_takes_nothing_away_keeps_connections_open() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
    let mut settings = cluster.settings();
    settings.generation += 1;
    settings.identity = Cluster::new().settings().identity;
    settings.access.revoked_serials.push("02".into());
    server.change(settings);
    assert!(client.call(18, 2, &[]).await.is_some());
}

#[tokio::test]
async fn a_lost_right_cuts_only_those_who_use_it() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let mut watching = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(watching.call(2, 2, &[]).await.is_some());
    let mut idle = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(idle.call(18, 2, &[]).await.is_some());
    let mut settings = cluster.settings();
    settings.generation += 1;
    settings.access.entries[0].role = Role::User;
    server.change(settings);
    watching.closed().await;
    assert!(idle.call(18, 2, &[]).await.is_some());
}

#[tokio::test]
async fn a_certificate_that_ends_ends_its_connection() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let leaf =
        Leaf { uris: vec![cluster.uri(cluster.user)], serial: 1, lifetime: time::Duration::seconds(2) };
    let identity = client_from(&cluster.client_ca, &leaf);
    let mut client = Client::connect(&server, &cluster.connector(Some(&identity)), DOMAIN).await.unwrap();
    assert!(client.call(18, 2, &[]).await.is_some());
    client.closed().await;
    assert_eq!(server.usage.connections_cut.get(), 1);
}

#[tokio::test]
async fn the_limit_of_connections_holds() {
    let cluster = Cluster::new();
    let mut settings = cluster.settings();
    settings.limits.connections = 2;
    let server = Running::start(ServerName::Sc, settings, Arc::new(Probe)).await;
    let identity = cluster.client(cluster.admin, 1);
    let mut first = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(first.call(18, 2, &[]).await.is_some());
    let mut second = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(second.call(18, 2, &[]).await.is_some());
    assert!(!gets_in(&server, &cluster, Some(&identity), DOMAIN).await);
    drop(first);
    until("a place is free", || server.usage.connections.get() == 1).await;
    assert!(gets_in(&server, &cluster, Some(&identity), DOMAIN).await);
}

#[tokio::test]
async fn a_principal_has_no_more_connections_than_one_may() {
    let cluster = Cluster::new();
    let mut settings = cluster.settings();
    settings.limits.principal_connections = Some(1);
    let server = Running::start(ServerName::Sc, settings, Arc::new(Probe)).await;
    let (admin, user) = (cluster.client(cluster.admin, 1), cluster.client(cluster.user, 2));
    let mut first = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(first.call(18, 2, &[]).await.is_some());
    assert!(!gets_in(&server, &cluster, Some(&admin), DOMAIN).await);
    assert!(gets_in(&server, &cluster, Some(&user), DOMAIN).await, "another has its own");
    assert!(first.call(18, 2, &[]).await.is_some());
    drop(first);
    until("the place is free", || server.usage.connections.get() == 0).await;
    assert!(gets_in(&server, &cluster, Some(&admin), DOMAIN).await);
}

#[tokio::test]
async fn a_stopped_server_ends_its_connections() {
    let cluster = Cluster::new();
    let server = running(&cluster).await;
    let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
    assert!(client.call(18, 2, &[]).await.is_some());
    server.stop.cancel();
    client.closed().await;
}
