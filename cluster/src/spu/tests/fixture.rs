//! An SPU on a free port with an SC that does what a test tells it to.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster_settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::Policy;
use crate::config::ScrubConfig;
use crate::connection::tests::fixture::{Client, Cluster, DEADLINE, DOMAIN, Running};
use crate::internal::Dialler;
use crate::link::message::{FromSc, FromSpu, ViewChange};
use crate::link::{Assignment, PartitionKey, ReplicaReport, SpuLink};
use crate::peer::Peers;
use crate::sc::topic::{CONSUMER_OFFSETS, TopicOptions};
use crate::spu::{Spu, SpuOptions, kept_assignments};
use crate::tls::ServerName;
use crate::usage::Usage;
use crate::wire::Fields;

/// The SPU under test.
pub(super) struct Unit {
    pub(super) spu: Arc<Spu>,
    pub(super) server: Running,
    stop: CancellationToken,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Unit {
    /// Starts on this folder with what it kept there; `view` is given to it as if it had kept that.
    pub(super) async fn start(folder: &Path, settings: Settings, view: Vec<Assignment>) -> Self {
        let kept = if view.is_empty() { kept_assignments(folder).unwrap() } else { view };
        let stop = CancellationToken::new();
        let dialler = Dialler::Unix(folder.join("link.sock"));
        let (link, dialling) = SpuLink::new("main-0".into(), dialler, None, kept, None, stop.clone());
        let policy = watch::Sender::new(Some(Arc::new(Policy::build(settings, None).unwrap())));
        let usage = Arc::new(Usage::default());
        let spu = Spu::start(SpuOptions {
            name: "main-0".into(),
            folder: folder.join("main-0"),
            peers: Peers::new(link.peers(), None),
            link,
            policy: policy.subscribe(),
            usage: Arc::clone(&usage),
            host_reserve_bytes: 0,
            move_bytes_per_second: NonZeroU64::MAX,
            scrub: ScrubConfig::default(),
            stop: stop.clone(),
        });
        let spu = spu.await.unwrap();
        let name = ServerName::Spu("main-0".into());
        let server = Running::with_policy(name, policy, spu.requests(), usage).await;
        let running = vec![tokio::spawn(Arc::clone(&spu).run()), tokio::spawn(dialling)];
        Self { spu, server, stop, running }
    }

    /// With topics `numbers` (two partitions) and the consumers' offsets.
    pub(super) async fn with_numbers(folder: &Path, cluster: &Cluster) -> Self {
        Self::start(folder, cluster.settings(), numbers()).await
    }

    pub(super) async fn client(&self, cluster: &Cluster) -> Client {
        let connector = cluster.connector(Some(&cluster.client(cluster.user, 3)));
        Client::connect(&self.server, &connector, &format!("main-0.{DOMAIN}")).await.unwrap()
    }

    /// Stops as a signal would.
    pub(super) async fn stop(mut self) {
        self.server.stop.cancel();
        self.stop.cancel();
        for task in std::mem::take(&mut self.running) {
            timeout(DEADLINE, task).await.unwrap().unwrap();
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) fn assignment(topic: &str, partition: u32, topic_id: u128, options: TopicOptions) -> Assignment {
    Assignment {
        key: PartitionKey { topic: topic.into(), partition },
        topic_id: Uuid::from_u128(topic_id),
        epoch: 3,
        leader: 5001,
        replicas: vec![5001],
        in_sync: Default::default(),
        factor: 1,
        placed_by_client: false,
        options,
    }
}

pub(super) fn numbers() -> Vec<Assignment> {
    let system = TopicOptions { system: true, ..TopicOptions::default() };
    vec![
        assignment("numbers", 0, 1, TopicOptions::default()),
        assignment("numbers", 1, 1, TopicOptions::default()),
        assignment(CONSUMER_OFFSETS, 0, 2, system),
    ]
}

/// An SC that has one SPU and sends it the views it is given.
pub(super) struct Controller {
    socket: UnixStream,
    revision: u64,
}

impl Controller {
    pub(super) fn listen(folder: &Path) -> UnixListener {
        UnixListener::bind(folder.join("link.sock")).unwrap()
    }

    pub(super) async fn accept(listener: &UnixListener) -> Self {
        let (socket, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        let mut controller = Self { socket, revision: 0 };
        assert!(matches!(controller.next().await, FromSpu::Hello { .. }));
        controller.send(&FromSc::Welcome { spu: 5001 }).await;
        controller
    }

    async fn send(&mut self, message: &FromSc) {
        let bytes = serde_json::to_vec(message).unwrap();
        self.socket.write_u32(u32::try_from(bytes.len()).unwrap()).await.unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }

    async fn next(&mut self) -> FromSpu {
        let read = async {
            let length = self.socket.read_u32().await.unwrap();
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            self.socket.read_exact(&mut bytes).await.unwrap();
            serde_json::from_slice(&bytes).unwrap()
        };
        timeout(DEADLINE, read).await.unwrap()
    }

    /// Says where the other SPUs are.
    pub(super) async fn tell_peers(&mut self, peers: &[(i32, String)]) {
        self.send(&FromSc::Peers(peers.iter().cloned().collect())).await;
    }

    /// Sends a whole view and waits until it is in force.
    pub(super) async fn put(&mut self, assigned: Vec<Assignment>, retired: &[u128]) {
        self.tell(assigned, retired).await;
        self.applied().await;
    }

    /// Sends a whole view in which these copies are dropped, and waits until it is in force.
    pub(super) async fn put_dropping(&mut self, assigned: Vec<Assignment>, dropped: &[(u128, u32)]) {
        let dropped = dropped.iter().map(|(id, index)| (Uuid::from_u128(*id), *index)).collect();
        self.tell_change(assigned, ViewChange { dropped, ..ViewChange::default() }).await;
        self.applied().await;
    }

    /// Sends a whole view.
    pub(super) async fn tell(&mut self, assigned: Vec<Assignment>, retired: &[u128]) {
        let retired = retired.iter().map(|id| Uuid::from_u128(*id)).collect();
        self.tell_change(assigned, ViewChange { retired, ..ViewChange::default() }).await;
    }

    async fn tell_change(&mut self, assigned: Vec<Assignment>, change: ViewChange) {
        self.revision += 1;
        let topics_made =
            assigned.iter().map(|assignment| (assignment.key.topic.clone(), assignment.topic_id)).collect();
        let change = ViewChange { revision: self.revision, whole: true, assigned, topics_made, ..change };
        self.send(&FromSc::View(change)).await;
    }

    /// The next report of this partition of which this is so.
    pub(super) async fn reported(
        &mut self,
        topic: &str,
        is_so: impl Fn(&ReplicaReport) -> bool,
    ) -> ReplicaReport {
        loop {
            if let FromSpu::Report(reports) = self.next().await
                && let Some(found) =
                    reports.into_iter().find(|report| report.key.topic == topic && is_so(report))
            {
                return found;
            }
        }
    }

    /// Waits until the view that was sent last is confirmed.
    pub(super) async fn applied(&mut self) {
        loop {
            if matches!(self.next().await, FromSpu::ViewApplied(revision) if revision == self.revision) {
                return;
            }
        }
    }
}

/// A batch of one record for each value.
pub(super) fn batch(values: &[&str]) -> Bytes {
    let records: Vec<_> = values
        .iter()
        .map(|value| (Bytes::from_static(b"key"), Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    crate::wire::record_batch(&records, 1_700_000_000_000).unwrap()
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

/// The body of a produce request with one topic.
pub(super) fn produce(topic: &str, acks: i16, entries: &[(u32, &[u8])]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(acks.to_be_bytes());
    body.extend(1500i32.to_be_bytes());
    body.extend(1u32.to_be_bytes());
    string(&mut body, topic);
    body.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
    for (partition, records) in entries {
        body.extend(partition.to_be_bytes());
        body.extend(u32::try_from(records.len()).unwrap().to_be_bytes());
        body.extend(*records);
    }
    body.extend(0u32.to_be_bytes());
    body
}

/// (partition, error code, base offset) of each entry of a produce response.
pub(super) async fn produced(
    client: &mut Client,
    topic: &str,
    entries: &[(u32, &[u8])],
) -> Vec<(u32, i16, i64)> {
    let response = client.call(0, 25, &produce(topic, 1, entries)).await.expect("an answer");
    entries_of(response)
}

pub(super) fn entries_of(response: Vec<u8>) -> Vec<(u32, i16, i64)> {
    let mut fields = Fields::new(response.into());
    assert_eq!(fields.u32().unwrap(), 1);
    fields.string().unwrap();
    let n_entries = fields.u32().unwrap();
    (0..n_entries)
        .map(|_| {
            let (partition, code) = (fields.u32().unwrap(), fields.i16().unwrap());
            skip_payload(&mut fields, code);
            let base = fields.i64().unwrap();
            fields.slice(16).unwrap();
            (partition, code, base)
        })
        .collect()
}

/// The fields behind those error codes that have some.
fn skip_payload(fields: &mut Fields, code: i16) {
    match code {
        2 | 6001 | 3003 => {
            fields.string().unwrap();
        }
        72 => {
            fields.string().unwrap();
            fields.u32().unwrap();
        }
        71 => {
            fields.slice(16).unwrap();
        }
        6002 => {
            fields.string().unwrap();
            fields.optional_string().unwrap();
        }
        _ => {}
    }
}

/// The body of a StreamFetch request.
pub(super) fn stream_fetch(topic: &str, offset: i64, max_bytes: i32, consumer: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, topic);
    body.extend(0u32.to_be_bytes());
    body.extend(offset.to_be_bytes());
    body.extend(max_bytes.to_be_bytes());
    body.push(0);
    body.extend(0u32.to_be_bytes());
    body.push(consumer.is_some().into());
    if let Some(consumer) = consumer {
        string(&mut body, consumer);
    }
    body
}

/// A stream's response.
#[derive(Debug)]
pub(super) struct SliceSeen {
    pub(super) stream_id: u32,
    pub(super) code: i16,
    pub(super) batches: Vec<cluster_storage::batch::Batch>,
}

impl SliceSeen {
    pub(super) fn parse(response: Vec<u8>) -> Self {
        let mut fields = Fields::new(response.into());
        fields.string().unwrap();
        let stream_id = fields.u32().unwrap();
        fields.u32().unwrap();
        let code = fields.i16().unwrap();
        skip_payload(&mut fields, code);
        fields.slice(24).unwrap();
        assert!(!fields.bool().unwrap());
        let length = usize::try_from(fields.u32().unwrap()).unwrap();
        let records = fields.slice(length).unwrap();
        assert_eq!(fields.remaining(), 0);
        let limits = cluster_storage::batch::Limits { batch_bytes: 1 << 30, batches: 10_000 };
        let batches = cluster_storage::batch::split(&records, limits).unwrap();
        Self { stream_id, code, batches }
    }

    pub(super) fn offsets(&self) -> Vec<i64> {
        self.batches.iter().map(|batch| batch.header().base_offset).collect()
    }
}

pub(super) fn ack(stream_id: u32, offset: i64) -> Vec<u8> {
    let mut body = 1u32.to_be_bytes().to_vec();
    body.extend(offset.to_be_bytes());
    body.extend(stream_id.to_be_bytes());
    body
}

/// Long enough to notice something that should not come.
pub(super) const QUIET: Duration = Duration::from_millis(150);
