use std::sync::Arc;
use std::time::Duration;

use cluster_settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::connection::tests::fixture::{Cluster, until};
use crate::internal::Dialler;
use crate::link::{self, Relay, SpuLink};
use crate::sc::{Owner, Sc};

struct Controlled {
    dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Controlled {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Controlled {
    fn start(settings: &Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let owner = Owner { tenant: settings.tenant, cluster: settings.cluster };
        let (sc, _) =
            Sc::start(dir.path().join("sc"), owner, Duration::from_secs(3_600), stop.clone()).unwrap();
        let links = Listener::unix(&dir.path().join("link.sock")).unwrap();
        tokio::spawn(link::listen::serve(links, sc.clone(), Arc::new(Relay::default()), stop.clone()));
        let listener = Listener::unix(&dir.path().join("control.sock")).unwrap();
        tokio::spawn(serve(listener, sc_routes(sc, Arc::default()), stop.clone()));
        Self { dir, stop }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = UnixStream::connect(self.dir.path().join("control.sock")).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: sc\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn push(&self, settings: &Settings) -> (u16, String) {
        self.ask("PUT", "/v1/settings", &serde_json::to_string(settings).unwrap()).await
    }
}

#[tokio::test]
async fn settings_are_taken_refused_and_kept() {
    let mut settings = Cluster::new().settings();
    let controlled = Controlled::start(&settings);
    let (status, health) = controlled.ask("GET", "/v1/health", "").await;
    assert!(status == 503 && health.contains("no settings yet"), "{health}");
    settings.generation = 5;
    assert_eq!(controlled.push(&settings).await.0, 204);
    assert_eq!(controlled.push(&settings).await.0, 204, "the same again");
    let (status, health) = controlled.ask("GET", "/v1/health", "").await;
    assert!(status == 503 && health.contains("not registered: main-0"), "{health}");
    assert!(health.contains(r#"{"id":5001,"name":"main-0","online":false,"replicas":0}"#), "{health}");
    settings.generation = 4;
    assert_eq!(controlled.push(&settings).await.0, 409);
    settings.generation = 6;
    settings.identity.as_mut().unwrap().key_pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let (status, problem) = controlled.push(&settings).await;
    assert!(status == 400 && problem.contains("error") && !problem.contains("PRIVATE"), "{problem}");
    assert_eq!(controlled.ask("PUT", "/v1/settings", "{}").await.0, 400);
    assert_eq!(controlled.ask("GET", "/v1/settings", "").await.0, 405, "keys are not given out");
    let kept = std::fs::metadata(controlled.dir.path().join("sc/settings")).unwrap();
    assert!(kept.len() > 0);
}

#[tokio::test]
async fn settings_are_confirmed_when_the_spus_have_them() {
    let mut settings = Cluster::new().settings();
    let controlled = Controlled::start(&settings);
    assert_eq!(controlled.push(&settings).await.0, 204);
    let dialler = Dialler::Unix(controlled.dir.path().join("link.sock"));
    let stop = controlled.stop.clone();
    let (link, dialling) = SpuLink::new("main-0".into(), dialler, None, Vec::new(), None, stop);
    tokio::spawn(dialling);
    let seen = link.settings();
    until("the SPU has the first", || seen.borrow().is_some()).await;
    settings.generation = 2;
    let (confirmed, ()) = tokio::join!(controlled.push(&settings), async {
        let generation = || seen.borrow().as_ref().map(|settings| settings.generation);
        until("the SPU has the second", || generation() == Some(2)).await;
        link.applied_settings(2);
    });
    assert_eq!(confirmed.0, 204);
    settings.generation = 3;
    let (status, problem) = controlled.push(&settings).await;
    assert!(status == 503 && problem.contains("main-0"), "an SPU that does not confirm: {status} {problem}");
}

#[tokio::test]
async fn metrics_are_text_of_prometheus() {
    let settings = Cluster::new().settings();
    let controlled = Controlled::start(&settings);
    assert_eq!(controlled.push(&settings).await.0, 204);
    let (status, text) = controlled.ask("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(text.contains("\nfluvio_spu_online{spu=\"main-0\"} 0\n"), "{text}");
}
