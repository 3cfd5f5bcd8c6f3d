//! An SC with everything around it but the storage of records.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cluster_settings::{Settings, SpuEntry};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connection::tests::fixture::{Client, Cluster, DEADLINE, Running};
use crate::internal::{Dialler, Listener};
use crate::link::{self, Relay, ReplicaReport, ReplicaState, SpuLink};
use crate::sc::admin::AdminService;
use crate::sc::{Owner, Sc};
use crate::tls::ServerName;
use crate::usage::Usage;
use crate::wire::ErrorCode;
use crate::wire::admin::key;
use crate::wire::schema::metadata::topic::TopicSpec;
use crate::wire::schema::metadata::topic::UpdateTopicAction;
use crate::wire::schema::sc::objects::{
    CommonCreateRequest, CreateRequest, DeleteRequest, ListRequest, ListResponse, Metadata, MetadataUpdate,
    ObjectApiCreateRequest, ObjectApiDeleteRequest, ObjectApiListRequest, ObjectApiListResponse,
    ObjectApiUpdateRequest, ObjectApiWatchRequest, ObjectApiWatchResponse, UpdateRequest, WatchRequest,
    WatchResponse,
};
use crate::wire::schema::sc::{AdminSpec, CreatableAdminSpec, DeletableAdminSpec, Status, TryEncodableFrom};
use crate::wire::schema::{Decoder, Encoder};

pub const VERSION: i16 = 19;

/// Longer than any test.
const LOST_AFTER: Duration = Duration::from_secs(3_600);

/// One SC process, as far as these tests go.
pub struct Process {
    pub sc: Sc,
    pub running: Running,
    stop: CancellationToken,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A cluster's folder and certificates, which outlive its processes.
pub struct World {
    pub dir: tempfile::TempDir,
    pub cluster: Cluster,
    pub settings: Settings,
}

impl World {
    pub fn new(n_spus: i32) -> Self {
        let cluster = Cluster::new();
        let mut settings = cluster.settings();
        let spu = |n| SpuEntry {
            id: 5001 + n,
            name: format!("main-{n}"),
            rack: None,
            leaving: false,
            public_endpoint: None,
        };
        settings.spus = (0..n_spus).map(spu).collect();
        Self { dir: tempfile::tempdir().unwrap(), cluster, settings }
    }

    fn owner(&self) -> Owner {
        Owner { tenant: self.settings.tenant, cluster: self.settings.cluster }
    }

    pub fn sc_dir(&self) -> PathBuf {
        self.dir.path().join("sc")
    }

    fn link_socket(&self) -> PathBuf {
        self.dir.path().join("link.sock")
    }

    /// Starts the SC on what its folder holds, and gives it the settings.
    pub async fn start(&self) -> Process {
        let stop = CancellationToken::new();
        let (sc, _) = Sc::start(self.sc_dir(), self.owner(), LOST_AFTER, stop.clone()).unwrap();
        let links = Listener::unix(&self.link_socket()).unwrap();
        tokio::spawn(link::listen::serve(links, sc.clone(), Arc::new(Relay::default()), stop.clone()));
        sc.put_settings(self.settings.clone()).await.unwrap();
        let running = self.serve(&sc, |_| ()).await;
        Process { sc, running, stop }
    }

    /// Takes clients of this SC, in a service that is changed like this.
    pub async fn serve(&self, sc: &Sc, change: impl FnOnce(&mut AdminService)) -> Running {
        let usage = Arc::new(Usage::default());
        let mut service = AdminService::new(sc.clone(), usage.clone());
        change(&mut service);
        let policy = watch::Sender::new(sc.policy().borrow().clone());
        Running::with_policy(ServerName::Sc, policy, Arc::new(service), usage).await
    }

    /// An SPU that opens whatever it is given.
    pub async fn spu(&self, n: i32) -> Spu {
        let spu = self.silent_spu(n).await;
        tokio::spawn(spu.link.clone().open_everything());
        spu
    }

    /// An SPU that says nothing of its partitions.
    pub async fn silent_spu(&self, n: i32) -> Spu {
        self.spu_that_holds(n, Vec::new()).await
    }

    pub async fn spu_that_holds(&self, n: i32, held: Vec<link::Assignment>) -> Spu {
        let stop = CancellationToken::new();
        let name = format!("main-{n}");
        let (link, dialling) =
            SpuLink::new(name, Dialler::Unix(self.link_socket()), None, held, None, stop.clone());
        let mut registered = link.registered();
        tokio::spawn(dialling);
        timeout(DEADLINE, registered.wait_for(Option::is_some)).await.expect("registered in time").unwrap();
        Spu { link, stop }
    }

    pub async fn admin(&self, process: &Process) -> Client {
        Client::admitted(&process.running, &self.cluster, self.cluster.admin).await
    }

    pub async fn user(&self, process: &Process) -> Client {
        Client::admitted(&process.running, &self.cluster, self.cluster.user).await
    }
}

/// An SPU's end of the link, led by the test.
pub struct Spu {
    pub link: SpuLink,
    stop: CancellationToken,
}

impl Drop for Spu {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl SpuLink {
    async fn open_everything(self) {
        let mut views = self.view();
        loop {
            let view = views.borrow_and_update().clone();
            for (key, assignment) in &view.assignments {
                self.report(ReplicaReport {
                    durable: None,
                    key: key.clone(),
                    topic_id: assignment.topic_id,
                    epoch: assignment.epoch,
                    state: ReplicaState::Online,
                    lost_lead: false,
                    base_offset: 0,
                    high_watermark: 0,
                    log_end: 0,
                    size: 0,
                    damaged: 0,
                });
            }
            self.applied_view(view.revision);
            if views.changed().await.is_err() {
                return;
            }
        }
    }
}

fn bytes(message: &impl Encoder, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes, version).unwrap();
    bytes
}

async fn status(client: &mut Client, key: u16, body: &[u8]) -> (ErrorCode, String) {
    let response = client.call(key, VERSION, body).await.expect("an answer");
    let status = Status::decode_from(&mut response.as_slice(), VERSION).unwrap();
    (status.error_code, status.error_message.unwrap_or_default())
}

pub async fn create<S>(client: &mut Client, name: &str, spec: S) -> (ErrorCode, String)
where
    S: CreatableAdminSpec,
    CreateRequest<S>: Encoder + Decoder + std::fmt::Debug,
{
    let common = CommonCreateRequest { name: name.into(), ..Default::default() };
    let request = ObjectApiCreateRequest::try_encode_from(CreateRequest::new(common, spec), VERSION).unwrap();
    status(client, key::CREATE, &bytes(&request, VERSION)).await
}

pub async fn create_labelled(client: &mut Client, label: &str) -> (ErrorCode, String) {
    let mut body = bytes(&label.to_owned(), VERSION);
    let common = CommonCreateRequest { name: "x".into(), ..Default::default() };
    let content = bytes(&common, VERSION);
    body.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    body.extend(content);
    status(client, key::CREATE, &body).await
}

pub async fn delete(client: &mut Client, name: &str, force: bool) -> (ErrorCode, String) {
    let request: DeleteRequest<TopicSpec> = DeleteRequest::with(name.to_owned(), force);
    let request = ObjectApiDeleteRequest::try_encode_from(request, VERSION).unwrap();
    status(client, key::DELETE, &bytes(&request, VERSION)).await
}

pub async fn delete_object<S: DeletableAdminSpec>(client: &mut Client, key: S::DeleteKey) -> ErrorCode
where
    DeleteRequest<S>: Encoder + Decoder + std::fmt::Debug,
{
    let request = ObjectApiDeleteRequest::try_encode_from(DeleteRequest::<S>::new(key), VERSION).unwrap();
    status(client, key::DELETE, &bytes(&request, VERSION)).await.0
}

pub async fn update(client: &mut Client, name: &str, action: UpdateTopicAction) -> (ErrorCode, String) {
    let request: UpdateRequest<TopicSpec> = UpdateRequest::new(name.to_owned(), action);
    let request = ObjectApiUpdateRequest::try_encode_from(request, VERSION).unwrap();
    status(client, key::UPDATE, &bytes(&request, VERSION)).await
}

pub async fn list<S>(client: &mut Client, filter: &str, system: bool, version: i16) -> Vec<Metadata<S>>
where
    S: AdminSpec,
    S::Status: Encoder + Decoder + std::fmt::Debug,
    ListRequest<S>: Encoder + Decoder + std::fmt::Debug,
    ListResponse<S>: Decoder + std::fmt::Debug,
{
    listed(client, ListRequest::<S>::new(filter, false).system(system), version).await
}

/// Lists as this request asks for.
pub async fn listed<S>(client: &mut Client, request: ListRequest<S>, version: i16) -> Vec<Metadata<S>>
where
    S: AdminSpec,
    S::Status: Encoder + Decoder + std::fmt::Debug,
    ListRequest<S>: Encoder + Decoder + std::fmt::Debug,
    ListResponse<S>: Decoder + std::fmt::Debug,
{
    let request = ObjectApiListRequest::try_encode_from(request, version).unwrap();
    let response = client.call(key::LIST, version, &bytes(&request, version)).await.expect("an answer");
    let response = ObjectApiListResponse::decode_from(&mut response.as_slice(), version).unwrap();
    let response: ListResponse<S> = response.downcast().unwrap().unwrap();
    response.inner()
}

pub async fn watch_all<S>(client: &mut Client)
where
    S: AdminSpec + Default,
    WatchRequest<S>: Encoder + Decoder + std::fmt::Debug,
{
    watch(client, WatchRequest::<S>::default()).await;
}

/// The answer as it comes to this request to list; `None` if the connection is closed instead.
pub async fn ask_list<S>(client: &mut Client, request: ListRequest<S>) -> Option<Vec<u8>>
where
    S: AdminSpec,
    ListRequest<S>: Encoder + Decoder + std::fmt::Debug,
{
    let request = ObjectApiListRequest::try_encode_from(request, VERSION).unwrap();
    client.call(key::LIST, VERSION, &bytes(&request, VERSION)).await
}

/// Watches as this request asks for.
pub async fn watch<S>(client: &mut Client, request: WatchRequest<S>)
where
    S: AdminSpec + Default,
    WatchRequest<S>: Encoder + Decoder + std::fmt::Debug,
{
    let request = ObjectApiWatchRequest::try_encode_from(request, VERSION).unwrap();
    let frame = crate::connection::tests::fixture::request(key::WATCH, VERSION, &bytes(&request, VERSION));
    client.send(&frame).await;
}

pub async fn news<S>(client: &mut Client) -> MetadataUpdate<S>
where
    S: AdminSpec + Default,
    S::Status: Encoder + Decoder + std::fmt::Debug,
    WatchResponse<S>: Decoder + std::fmt::Debug,
{
    let response = client.response().await.expect("news");
    let response = ObjectApiWatchResponse::decode_from(&mut response.as_slice(), VERSION).unwrap();
    let response: WatchResponse<S> = response.downcast().unwrap().unwrap();
    response.inner()
}
