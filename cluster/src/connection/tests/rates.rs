//! Clients that go faster than they may: they wait, get every answer, and are counted.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_settings::{Limits, Rates, Settings};
use futures_util::poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::Probe;
use super::fixture::{Client, Cluster, DEADLINE, Running, request, until};
use crate::access::Policy;
use crate::connection::ConnectionLimit;
use crate::tls::ServerName;
use crate::usage::{PrincipalUsage, Usage};

fn requests(per_second: u32) -> Rates {
    Rates { requests_per_second: NonZeroU32::new(per_second), ..Rates::UNLIMITED }
}

fn bytes_in(per_second: u64) -> Rates {
    Rates { bytes_in_per_second: NonZeroU64::new(per_second), ..Rates::UNLIMITED }
}

fn bytes_out(per_second: u64) -> Rates {
    Rates { bytes_out_per_second: NonZeroU64::new(per_second), ..Rates::UNLIMITED }
}

/// The cluster's settings with other limits, as a push of this generation.
fn settings(cluster: &Cluster, generation: u64, change: impl FnOnce(&mut Limits)) -> Settings {
    let mut settings = cluster.settings();
    settings.generation = generation;
    change(&mut settings.limits);
    settings
}

async fn running(cluster: &Cluster, change: impl FnOnce(&mut Limits)) -> Running {
    Running::start(ServerName::Sc, settings(cluster, 1, change), Arc::new(Probe)).await
}

fn of(usage: &Usage, principal: Uuid) -> Arc<PrincipalUsage> {
    let all = usage.principals.all();
    all.into_iter().find(|(id, _)| *id == principal).expect("the principal has come").1
}

/// Sends so many requests at once, each with so many bytes beside its 16 of a head, and takes every answer.
async fn burst(client: &mut Client, n_requests: usize, n_bytes: usize) {
    let frame = request(1, 2, &vec![0; n_bytes]);
    client.send(&frame.repeat(n_requests)).await;
    for n_answered in 0..n_requests {
        assert!(client.response().await.is_some(), "after {n_answered}");
    }
}

#[tokio::test]
async fn a_principal_that_sends_too_much_waits_and_another_beside_it_does_not() {
    for (what, rates, n_requests, n_bytes) in
        [("requests", requests(10), 25, 0), ("bytes", bytes_in(10_000), 25, 1_000)]
    {
        let cluster = Cluster::new();
        let server = running(&cluster, |limits| limits.principal_rates = rates).await;
        let mut busy = Client::admitted(&server, &cluster, cluster.admin).await;
        let mut modest = Client::admitted(&server, &cluster, cluster.user).await;
        let began = Instant::now();
        burst(&mut busy, n_requests, n_bytes).await;
        // Of 25 a second's worth is free, and the last one itself: at any speed of the machine.
        assert!(began.elapsed() >= Duration::from_secs(1), "nobody was held back by {what}");
        burst(&mut modest, 3, n_bytes).await;
        let throttled = || of(&server.usage, cluster.admin).throttled.inward.get();
        until(what, || throttled() > 0).await;
        let modest = of(&server.usage, cluster.user);
        assert_eq!((modest.throttled.inward.get(), modest.requests.get()), (0, 3), "{what}");
        let busy = of(&server.usage, cluster.admin);
        assert_eq!(busy.requests.get(), n_requests as u64);
        assert_eq!(busy.bytes_in.get(), (n_requests * (n_bytes + 16)) as u64);
        assert_eq!(busy.bytes_in.get() + modest.bytes_in.get(), server.usage.bytes_in.get());
        assert_eq!(busy.throttled.outward.get(), 0);
    }
}

#[tokio::test]
async fn what_one_principal_took_of_the_clusters_rate_another_waits_for() {
    let cluster = Cluster::new();
    let settings = settings(&cluster, 1, |limits| limits.rates = bytes_in(1));
    let policy = Arc::new(Policy::build(settings, None).unwrap());
    let watch = watch::Sender::new(Some(Arc::clone(&policy)));
    let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
    let admit = |principal| limit.admit(&policy, principal, &usage).unwrap().pace(watch.subscribe());
    let (first, second) = (admit(cluster.admin), admit(cluster.user));
    assert!(second.before_reading().is_none());
    assert!(first.received(1_000).is_some());
    assert!(second.before_reading().is_some());
}

#[tokio::test]
async fn a_consumer_waits_for_longer_than_a_stall_may_take_and_is_not_cut() {
    let cluster = Cluster::new();
    // A frame is a little more than this, so each of them is waited for twice as long as a stalled client would have.
    let server = running(&cluster, |limits| limits.principal_rates = bytes_out(1 << 20)).await;
    let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
    client.send(&request(3, 2, &[])).await;
    let mut frames = vec![0; 3 << 20];
    timeout(DEADLINE, client.0.read_exact(&mut frames)).await.unwrap().unwrap();
    let own = of(&server.usage, cluster.admin);
    assert!(own.throttled.outward.get() > 0 && own.throttled.inward.get() == 0);
    assert_eq!(server.usage.throttled.outward.get(), own.throttled.outward.get());
    assert!(own.bytes_out.get() >= 3 << 20);
}

#[tokio::test]
async fn a_raised_limit_frees_those_who_wait() {
    // A minute's wait after the first request, or its answer.
    for rates in [bytes_in(1), bytes_out(1)] {
        let cluster = Cluster::new();
        let server = running(&cluster, |limits| limits.principal_rates = rates).await;
        let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
        client.send(&request(1, 2, &[0; 100]).repeat(50)).await;
        assert!(client.response().await.is_some());
        server.change(settings(&cluster, 2, |limits| limits.principal_rates = requests(1_000)));
        for n_answered in 1..50 {
            assert!(client.response().await.is_some(), "after {n_answered}");
        }
    }
}

#[tokio::test]
async fn only_another_rate_ends_a_wait_before_its_time() {
    let cluster = Cluster::new();
    let limited = |generation, rates| {
        let settings = settings(&cluster, generation, |limits| limits.rates = rates);
        Arc::new(Policy::build(settings, None).unwrap())
    };
    let policy = watch::Sender::new(Some(limited(1, bytes_in(1))));
    let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
    let admission = limit.admit(&limited(1, bytes_in(1)), cluster.admin, &usage).unwrap();
    let pace = admission.pace(policy.subscribe());
    assert!(pace.sent(1_000_000).is_none(), "there is no limit outwards");
    let mut pause = pace.received(1_000).unwrap();
    assert!(poll!(Box::pin(pause.over())).is_pending());
    policy.send_replace(Some(limited(2, bytes_in(1))));
    assert!(poll!(Box::pin(pause.over())).is_pending());
    policy.send_replace(Some(limited(3, bytes_in(2))));
    assert!(poll!(Box::pin(pause.over())).is_ready());
    assert!(pace.before_reading().is_none(), "another rate begins without debts");
}

#[tokio::test]
async fn dialling_anew_gets_around_no_limit() {
    let cluster = Cluster::new();
    let settings = settings(&cluster, 1, |limits| limits.principal_rates = bytes_in(1));
    let policy = watch::Sender::new(Some(Arc::new(Policy::build(settings, None).unwrap())));
    let (limit, usage) = (Arc::new(ConnectionLimit::default()), Arc::new(Usage::default()));
    let admit = |principal| {
        let policy = policy.borrow().clone().unwrap();
        limit.admit(&policy, principal, &usage).unwrap()
    };
    let first = admit(cluster.admin);
    assert!(first.pace(policy.subscribe()).before_reading().is_none());
    assert!(first.pace(policy.subscribe()).received(1_000).is_some());
    drop(first);
    assert!(admit(cluster.admin).pace(policy.subscribe()).before_reading().is_some());
    assert!(admit(cluster.user).pace(policy.subscribe()).before_reading().is_none());
}

#[tokio::test]
async fn who_waits_is_still_cut_and_still_stopped() {
    for stopped in [false, true] {
        let cluster = Cluster::new();
        let server = running(&cluster, |limits| limits.principal_rates = bytes_in(1)).await;
        let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
        client.send(&request(1, 2, &[0; 100]).repeat(2)).await;
        assert!(client.response().await.is_some());
        if stopped {
            server.stop.cancel();
        } else {
            let mut settings = settings(&cluster, 2, |limits| limits.principal_rates = bytes_in(1));
            settings.access.entries.retain(|entry| entry.principal != cluster.admin);
            server.change(settings);
        }
        client.closed().await;
        assert_eq!(server.usage.connections_cut.get(), u64::from(!stopped));
    }
}

#[tokio::test]
async fn a_client_that_goes_is_not_waited_for() {
    for (rates, n_requests) in [(bytes_in(1), 1), (bytes_out(1), 3)] {
        let cluster = Cluster::new();
        let server = running(&cluster, |limits| limits.principal_rates = rates).await;
        let mut client = Client::admitted(&server, &cluster, cluster.admin).await;
        client.send(&request(18, 2, &[]).repeat(n_requests)).await;
        assert!(client.response().await.is_some());
        client.0.shutdown().await.unwrap();
        until("its place is free", || server.usage.connections.get() == 0).await;
        let throttled = &server.usage.throttled;
        until("it waited", || throttled.inward.get() + throttled.outward.get() > 0).await;
    }
}
